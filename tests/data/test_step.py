"""The data step from end to end: digits, image folders, and what stops it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from pdd_ray.core.errors import DataError, FormatError
from pdd_ray.core.identities import file_digest
from pdd_ray.core.steps import execute
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.data.dataset import DATASET, Dataset, load_dataset
from pdd_ray.data.facts import read_facts, step_config, validation_counts
from pdd_ray.data.sources.digits import DIGITS, digits_fingerprint, load_digits
from pdd_ray.data.spec import DataSpec
from pdd_ray.data.split import digits_split, validation_split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store

    Plan = Callable[[DataSpec], tuple[Step, Store]]
    Make = Callable[..., Path]


def make_dataset(plan: Plan, spec: DataSpec) -> Dataset:
    step, store = plan(spec)
    execute(step.call, store)
    return load_dataset(store.folder(step.key))


def counts(labels: torch.Tensor) -> tuple[int, ...]:
    return tuple(labels.bincount().tolist())


# --- digits ------------------------------------------------------------------------------------


def test_constants_of_digits_are_those_of_scikit_learn() -> None:
    images, labels = load_digits()
    assert images.shape == (1797, 8, 8, 1)
    assert (images.min(), images.max()) == (0, 16)
    assert digits_fingerprint(images, labels) == DIGITS.fingerprint
    train, test = digits_split(labels.tolist())
    assert tuple(np.bincount(labels[train])) == DIGITS.train_counts
    assert tuple(np.bincount(labels[test])) == DIGITS.test_counts


def test_digits_end_to_end(data_step: Plan, cache: Path) -> None:
    spec = DataSpec(validation_fraction=0.2)
    dataset = make_dataset(data_step, spec)
    facts = read_facts(spec, cache)
    assert dataset.shape == facts.shape == (1, 8, 8)
    assert dataset.num_classes == 10
    assert counts(dataset.test_labels) == facts.test_counts
    assert counts(dataset.validation_labels) == validation_counts(facts, 0.2)
    assert len(dataset.train_labels) == 1280 - sum(validation_counts(facts, 0.2))
    for name, tensor in dataset.tensors().items():
        assert tensor.is_contiguous()
        assert tensor.dtype == (torch.float32 if name.endswith("images") else torch.int64)
    assert (dataset.source, dataset.fingerprint) == ("digits", DIGITS.fingerprint)


def test_slices_hold_the_images_that_the_split_names(data_step: Plan) -> None:
    dataset = make_dataset(data_step, DataSpec(preprocessing="none"))
    images, labels = load_digits()
    train, test = digits_split(labels.tolist())
    kept, held_out = validation_split(labels[train].tolist(), 10, 0.1, 0)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 16
    train_pixels = pixels[train]
    assert torch.equal(dataset.train_images, train_pixels[kept])
    assert torch.equal(dataset.validation_images, train_pixels[held_out])
    assert torch.equal(dataset.test_images, pixels[test])
    assert torch.equal(dataset.test_labels, torch.from_numpy(labels[test]))


def test_statistics_come_from_the_train_slice_alone(data_step: Plan) -> None:
    dataset = make_dataset(data_step, DataSpec(validation_fraction=0.5))
    assert abs(dataset.train_images.mean()) < 1e-5
    assert dataset.train_images.std(correction=0) == pytest.approx(1, abs=1e-5)
    assert abs(dataset.validation_images.mean()) > 1e-4


def test_whitened_images_go_back_to_pixels(data_step: Plan) -> None:
    white = make_dataset(data_step, DataSpec(preprocessing="zca"))
    plain = make_dataset(data_step, DataSpec(preprocessing="none"))
    back = white.pixels.inverse(white.test_images)
    torch.testing.assert_close(back, plain.test_images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("preprocessing", ["normalise", "zca"])
def test_making_it_again_gives_the_same_bytes(data_step: Plan, preprocessing: str) -> None:
    step, store = data_step(DataSpec(preprocessing=preprocessing))
    execute(step.call, store)
    first = file_digest(store.folder(step.key) / DATASET)
    store.set_aside(step.key)
    execute(step.call, store)
    assert file_digest(store.folder(step.key) / DATASET) == first


def test_the_global_generator_is_not_touched(data_step: Plan) -> None:
    before = torch.get_rng_state()
    make_dataset(data_step, DataSpec())
    assert torch.equal(torch.get_rng_state(), before)


# --- image folders -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_folders_end_to_end(make_folder: Make, data_step: Plan, mode: str, suffix: str) -> None:
    root = make_folder({"bee": 3, "ant": 5}, suffix=suffix, mode=mode, height=6, width=8)
    dataset = make_dataset(
        data_step, DataSpec(source="image_folder", root=root, preprocessing="none")
    )
    channels = 3 if mode == "RGB" else 1
    assert dataset.shape == (channels, 6, 8)
    assert dataset.classes == ("ant", "bee")
    assert counts(dataset.train_labels) == (4, 2)
    assert counts(dataset.validation_labels) == (1, 1)
    assert dataset.test_labels.tolist() == [0, 0, 1, 1]
    with Image.open(root / "test" / "bee" / f"001{suffix}") as image:
        expected = np.asarray(image).reshape(6, 8, channels).transpose(2, 0, 1)
    np.testing.assert_array_equal((dataset.test_images[3] * 255).round(), expected)


def test_mixed_channels_and_sizes_are_read_as_configured(
    make_folder: Make, make_image: Make, data_step: Plan
) -> None:
    root = make_folder()
    make_image(root / "test" / "ant" / "odd.png", 12, 16, "L")
    spec = DataSpec(
        source="image_folder",
        root=root,
        channels="rgb",
        resize=(6, 8),
        pool=2,
        preprocessing="none",
    )
    dataset = make_dataset(data_step, spec)
    assert dataset.test_images.shape == (5, 3, 3, 4)
    odd = dataset.test_images[2]
    assert torch.equal(odd[0], odd[1])


def test_the_same_images_elsewhere_have_the_same_step(make_folder: Make, data_step: Plan) -> None:
    one = data_step(DataSpec(source="image_folder", root=make_folder(name="one")))[0]
    other = data_step(DataSpec(source="image_folder", root=make_folder(name="other")))[0]
    assert one.key == other.key


def test_images_changed_since_the_plan_stop_the_step(
    make_folder: Make, make_image: Make, data_step: Plan
) -> None:
    root = make_folder()
    step, store = data_step(DataSpec(source="image_folder", root=root))
    make_image(root / "train" / "ant" / "new.png", seed=99)
    with pytest.raises(DataError, match="have changed since the run was planned"):
        execute(step.call, store)


def test_a_store_that_does_not_know_the_place_is_told(
    make_folder: Make, data_step: Plan, cache: Path
) -> None:
    step, store = data_step(DataSpec(source="image_folder", root=make_folder()))
    for entry in cache.glob("*.json"):
        entry.unlink()
    with pytest.raises(DataError, match="should say where the images of this data set lie"):
        execute(step.call, store)


def test_an_image_that_cannot_be_decoded_is_named(
    make_folder: Make, make_image: Make, data_step: Plan
) -> None:
    root = make_folder()
    path = make_image(root / "train" / "ant" / "cut.png", seed=5)
    path.write_bytes(path.read_bytes()[:60])
    step, store = data_step(DataSpec(source="image_folder", root=root))
    with pytest.raises(DataError, match=r"cut.png can't be decoded"):
        execute(step.call, store)


# --- the artifact ------------------------------------------------------------------------------


def test_loading_twice_gives_the_same_object(data_step: Plan) -> None:
    step, store = data_step(DataSpec())
    execute(step.call, store)
    folder = store.folder(step.key)
    first = load_dataset(folder)
    assert load_dataset(folder) is first
    with pytest.raises(FrozenInstanceError):
        first.source = "other"  # type: ignore[misc]


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="should hold a data set"):
        load_dataset(tmp_path)


def test_another_schema_is_refused(data_step: Plan, tmp_path: Path) -> None:
    step, store = data_step(DataSpec())
    execute(step.call, store)
    tensors, metadata = load_tensors(store.folder(step.key) / DATASET)
    save_tensors(tmp_path / DATASET, tensors, {**metadata, "schema": 99})
    with pytest.raises(FormatError, match="has schema 99, this version reads 1"):
        load_dataset(tmp_path)


def test_moving_keeps_everything(data_step: Plan) -> None:
    dataset = make_dataset(data_step, DataSpec(preprocessing="zca"))
    moved = dataset.to("meta")
    assert moved.train_images.device.type == "meta"
    assert moved.pixels.tensors()["matrix"].device.type == "meta"
    assert moved.shape == dataset.shape
    assert dataset.train_images.device.type == "cpu"


def test_the_configuration_of_the_step_has_every_other_setting(cache: Path) -> None:
    spec = DataSpec(pool=2, split_seed=3)
    config = step_config(spec, read_facts(spec, cache))
    values = config["spec"]
    assert isinstance(values, dict)
    assert set(values) == set(DataSpec.model_fields) - {"root", "download", "options"}
