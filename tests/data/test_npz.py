"""Data sets in .npz files: layouts that are read, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pdd_ray.core.errors import DataError
from pdd_ray.core.steps import Step, execute
from pdd_ray.data.dataset import load_dataset
from pdd_ray.data.facts import read_facts
from pdd_ray.data.npz import read_npz
from pdd_ray.data.spec import DataSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pdd_ray.core.store import Store


def arrays(shape: tuple[int, ...] = (5, 4)) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "train_images": rng.integers(0, 256, (6, *shape), dtype=np.uint8),
        "train_labels": np.array([0, 1, 0, 1, 2, 2]),
        "test_images": rng.integers(0, 256, (3, *shape), dtype=np.uint8),
        "test_labels": np.array([2, 1, 0], dtype=np.uint8),
    }


def save(path: Path, values: dict[str, Any]) -> Path:
    np.savez_compressed(path, allow_pickle=True, **values)
    return path


def spec_of(path: Path) -> DataSpec:
    return DataSpec(source="npz", root=path)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 4), (1, 5, 4)),
        ((5, 4, 3), (3, 5, 4)),
        ((5, 4, 1), (1, 5, 4)),
        ((3, 5, 4), (3, 5, 4)),
        ((1, 5, 4), (1, 5, 4)),
        ((3, 5, 3), (3, 3, 5)),  # ambiguous: the last axis counts
    ],
)
def test_layouts_give_channels_height_width(
    tmp_path: Path, cache: Path, shape: tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    facts = read_facts(spec_of(save(tmp_path / "a.npz", arrays(shape))), cache)
    assert facts.shape == expected
    assert facts.classes == ("0", "1", "2")
    assert facts.train_counts == (2, 2, 2)
    assert facts.test_counts == (1, 1, 1)


def test_channels_first_and_last_hold_the_same_images(tmp_path: Path) -> None:
    last = arrays((5, 4, 3))
    first = {
        name: np.moveaxis(value, 3, 1) if name.endswith("images") else value
        for name, value in last.items()
    }
    one = read_npz(save(tmp_path / "a.npz", last))
    other = read_npz(save(tmp_path / "b.npz", first))
    np.testing.assert_array_equal(one.train_images, other.train_images)


def test_class_names_are_read(tmp_path: Path, cache: Path) -> None:
    values = {**arrays(), "classes": np.array(["x", "y", "z"])}
    assert read_facts(spec_of(save(tmp_path / "a.npz", values)), cache).classes == ("x", "y", "z")


def test_pixels_come_back_from_the_artifact(
    tmp_path: Path, data_step: Callable[[DataSpec], tuple[Step, Store]]
) -> None:
    values = arrays((5, 4, 3))
    step, store = data_step(
        DataSpec(source="npz", root=save(tmp_path / "a.npz", values), preprocessing="none")
    )
    execute(step.call, store)
    dataset = load_dataset(store.folder(step.key))
    pixels = (dataset.test_images * 255).round().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(pixels, values["test_images"])


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in arrays().items() if key != name}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (without("test_labels"), "has no array 'test_labels'"),
        (arrays() | {"train_images": np.zeros((6, 5, 4))}, r"train_images .* is float64 \[6, 5, 4"),
        (arrays() | {"train_images": np.zeros((6, 5), np.uint8)}, r"uint8 \[6, 5\]; allowed"),
        (arrays() | {"train_images": np.zeros((6, 5, 4, 2), np.uint8)}, r"C = 1 or 3"),
        (arrays() | {"train_images": np.zeros((0, 5, 4), np.uint8)}, r"not empty"),
        (arrays() | {"test_images": np.zeros((3, 5, 5), np.uint8)}, r"make them agree"),
        (arrays() | {"train_labels": np.zeros(6)}, r"train_labels .* float64 \[6\] for 6 images"),
        (arrays() | {"train_labels": np.zeros(5, int)}, r"int64 \[5\] for 6 images"),
        (arrays() | {"train_labels": np.array([0, 1, 0, 1, 2, -1])}, r"integers 0 .. K - 1"),
        (
            arrays() | {"train_labels": np.array([0, 1, 0, 1, 3, 3])},
            r"class '2' has no image in tr",
        ),
        (arrays() | {"test_labels": np.array([1, 1, 0])}, r"class '2' has no image in test_labels"),
        (arrays() | {"classes": np.array(["x", "y"])}, r"classes .* 2 values .* up to 2"),
        (arrays() | {"classes": np.array(["x", "y", "y"])}, r"different strings"),
        (arrays() | {"classes": np.arange(3)}, r"different strings"),
        (arrays() | {"classes": np.array([None] * 3)}, r"without pickles"),
    ],
)
def test_other_arrays_are_refused(
    tmp_path: Path, cache: Path, values: dict[str, Any], text: str
) -> None:
    path = save(tmp_path / "bad.npz", values)
    with pytest.raises(DataError, match=text) as caught:
        read_facts(spec_of(path), cache)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"something else", b"PK\x03\x04 broken"])
def test_other_files_are_refused(tmp_path: Path, cache: Path, content: bytes) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad.npz can't be read as .npz without pickles"):
        read_facts(spec_of(path), cache)


def test_a_single_array_is_refused(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "bad.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"can't be read as .npz"):
        read_facts(spec_of(path), cache)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path, cache: Path) -> None:
    for path in (tmp_path / "nowhere.npz", tmp_path):
        with pytest.raises(DataError, match="is not a file; source npz needs"):
            read_facts(spec_of(path), cache)
