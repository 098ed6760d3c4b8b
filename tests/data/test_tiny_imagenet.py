"""Tiny-ImageNet as it is distributed, in small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pdd_ray.core.errors import DataError
from pdd_ray.core.steps import Step, execute
from pdd_ray.data.dataset import load_dataset
from pdd_ray.data.facts import read_facts, read_or_known_facts
from pdd_ray.data.listing import list_tiny_imagenet
from pdd_ray.data.spec import DataSpec

if TYPE_CHECKING:
    from pdd_ray.core.store import Store

Make = Callable[..., Path]


def spec_of(root: Path) -> DataSpec:
    return DataSpec(source="tiny_imagenet", root=root)


def test_classes_are_the_sorted_identifiers_present_in_train(make_tiny: Make, cache: Path) -> None:
    facts = read_facts(spec_of(make_tiny()), cache)
    assert facts.classes == ("n01", "n02")
    assert facts.train_counts == (3, 3)
    assert facts.test_counts == (2, 2)


def test_gray_images_make_it_rgb_by_default(make_tiny: Make, cache: Path) -> None:
    root = make_tiny()
    assert read_facts(spec_of(root), cache).shape == (3, 8, 8)
    gray = DataSpec(source="tiny_imagenet", root=root, channels="gray")
    assert read_facts(gray, cache).shape == (1, 8, 8)


def test_test_labels_come_from_the_annotations(make_tiny: Make) -> None:
    listing = list_tiny_imagenet(make_tiny(("n02", "n01")))
    labels = {Path(file.path).name: listing.classes[file.label] for file in listing.test}
    assert labels == {
        "val_0.JPEG": "n02",
        "val_1.JPEG": "n01",
        "val_2.JPEG": "n02",
        "val_3.JPEG": "n01",
    }


def test_validation_images_of_absent_classes_are_left_out(make_tiny: Make, cache: Path) -> None:
    facts = read_facts(spec_of(make_tiny(("n01",), annotated=("n03",))), cache)
    assert facts.classes == ("n01",)
    assert facts.test_counts == (2,)


def test_it_is_read_end_to_end(
    make_tiny: Make, data_step: Callable[[DataSpec], tuple[Step, Store]]
) -> None:
    step, store = data_step(spec_of(make_tiny()))
    execute(step.call, store)
    dataset = load_dataset(store.folder(step.key))
    assert dataset.train_images.shape == (4, 3, 8, 8)
    assert dataset.test_labels.tolist() == [1, 0, 1, 0]


def remove_annotations(root: Path) -> None:
    (root / "val" / "val_annotations.txt").unlink()


def remove_validation_image(root: Path) -> None:
    (root / "val" / "images" / "val_2.JPEG").unlink()


def add_unknown_image(root: Path) -> None:
    (root / "val" / "images" / "val_99.JPEG").touch()


def add_class_without_test(root: Path) -> None:
    (root / "train" / "n09" / "images").mkdir(parents=True)
    (root / "train" / "n09" / "images" / "a.JPEG").touch()


def break_a_line(root: Path) -> None:
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG n01\n")


def use_folders_per_class(root: Path) -> None:
    (root / "val" / "images").rename(root / "val" / "n01")


def remove_classes(root: Path) -> None:
    (root / "train").rename(root / "old")
    (root / "train").mkdir()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (remove_annotations, r"val_annotations.txt can't be read .*expected train/WNID"),
        (remove_validation_image, r"names val_2.JPEG, which is not in val/images"),
        (add_unknown_image, r"val/images/val_99.JPEG .*is not in val/val_annotations.txt"),
        (add_class_without_test, r"class 'n09' .*has no images in val/val_annotations"),
        (break_a_line, r"line 1: expected file<TAB>class, got 'val_0.JPEG n01'"),
        (use_folders_per_class, r"has no folder 'val/images'; expected train/WNID/images"),
        (remove_classes, r"has no class folders"),
    ],
)
def test_another_layout_is_refused(
    make_tiny: Make, cache: Path, damage: Callable[[Path], None], text: str
) -> None:
    root = make_tiny()
    damage(root)
    with pytest.raises(DataError, match=text):
        read_facts(spec_of(root), cache)


def test_it_is_planned_with_before_it_is_there(tmp_path: Path, cache: Path) -> None:
    facts = read_or_known_facts(spec_of(tmp_path / "nothing"), cache)
    assert (len(facts.classes), facts.shape) == (200, (3, 64, 64))
    assert (sum(facts.train_counts), sum(facts.test_counts)) == (100_000, 10_000)
    assert "does not exist" in facts.absent
