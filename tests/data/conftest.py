"""Small data sets made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pdd_ray.core.operations import DATA
from pdd_ray.core.steps import Step
from pdd_ray.core.store import Store
from pdd_ray.data.facts import read_facts, step_config

if TYPE_CHECKING:
    from pdd_ray.data.spec import DataSpec

MakeImage = Callable[..., Path]
MakeFolder = Callable[..., Path]


def random_array(height: int, width: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return smooth random RGB pixels (so that JPEG keeps them roughly)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))


@pytest.fixture
def make_image() -> MakeImage:
    """Return a function that writes one image; its format follows the name."""

    def make(
        path: Path,
        height: int = 6,
        width: int = 8,
        mode: str = "RGB",
        seed: int = 0,
        **options: object,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        file_format = "PNG" if path.suffix.lower() == ".png" else "JPEG"
        image = Image.fromarray(random_array(height, width, seed)).convert(mode)
        image.save(path, file_format, **options)
        return path

    return make


@pytest.fixture
def make_folder(make_image: MakeImage, tmp_path: Path) -> MakeFolder:
    """Return a function that writes an image folder: classes with numbers of training images."""

    def make(
        counts: dict[str, int] | None = None,
        tests: int = 2,
        name: str = "images",
        suffix: str = ".png",
        **options: object,
    ) -> Path:
        root = tmp_path / name
        seed = 0
        for label, count in (counts or {"ant": 5, "bee": 3}).items():
            for split, number in (("train", count), ("test", tests)):
                for index in range(number):
                    seed += 1
                    path = root / split / label / f"{index:03d}{suffix}"
                    make_image(path, seed=seed, **options)
        return root

    return make


@pytest.fixture
def make_tiny(make_image: MakeImage, tmp_path: Path) -> MakeFolder:
    """Return a function that writes Tiny-ImageNet's distributed layout, in small."""

    def make(wnids: tuple[str, ...] = ("n02", "n01"), annotated: tuple[str, ...] = ()) -> Path:
        root = tmp_path / "tiny-imagenet-200"
        lines = []
        for number, wnid in enumerate(wnids):
            for index in range(3):
                mode = "L" if index == 2 else "RGB"
                path = root / "train" / wnid / "images" / f"{wnid}_{index}.JPEG"
                make_image(path, 8, 8, mode, seed=10 * number + index)
            (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("")
        for index, wnid in enumerate((*wnids, *annotated, *wnids)):
            make_image(root / "val" / "images" / f"val_{index}.JPEG", 8, 8, seed=100 + index)
            lines.append(f"val_{index}.JPEG\t{wnid}\t0\t0\t7\t7\n")
        (root / "val" / "val_annotations.txt").write_text("".join(lines))
        (root / "wnids.txt").write_text("n01\nn02\nn03\n")
        return root

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return the facts folder of a store."""
    return tmp_path / "store" / "facts"


@pytest.fixture
def data_step(cache: Path) -> Callable[[DataSpec], tuple[Step, Store]]:
    """Return a function that plans the data step of a specification."""

    def plan(spec: DataSpec) -> tuple[Step, Store]:
        store = Store(cache.parent).open()
        config = step_config(spec, read_facts(spec, cache))
        return Step(DATA, config, label="data"), store

    return plan
