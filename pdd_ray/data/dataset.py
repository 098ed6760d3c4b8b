"""A prepared data set, and the artifact that holds it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch

from pdd_ray.core.artifact_files import DATASET
from pdd_ray.core.errors import FormatError
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.data.kept import KeptSets
from pdd_ray.data.pixels import load_pixel_transform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.core.identities import Json
    from pdd_ray.data.pixels import PixelTransform

SCHEMA = 1
SPLITS = ("train", "validation", "test")
HELD_OUT = ("validation", "test")
"""The splits that evaluations use."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Prepared images and labels. It is shared within a process: never change its tensors.

    N is a number of images. Images are float32 [N, C, H, W], contiguous, labels int64 [N].

    Attributes:
        train_images: The train slice, prepared (normalised or whitened).
        train_labels: Its classes.
        validation_images: The slice of the training images that is held out for all choices.
        validation_labels: Its classes.
        test_images: The test split, prepared with the statistics of the train slice.
        test_labels: Its classes.
        classes: Class names, by label.
        pixels: How prepared values map to pixels in [0, 1] and back.
        fingerprint: Digest of the data set's content.
        source: The value of ``data.source``.
    """

    train_images: Tensor
    train_labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    pixels: PixelTransform
    fingerprint: str
    source: str

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def tensors(self) -> dict[str, Tensor]:
        """Return images and labels by attribute name."""
        names = [field.name for field in fields(self)]
        return {
            name: getattr(self, name) for name in names if name.endswith(("_images", "_labels"))
        }

    def to(self, device: str, splits: Sequence[str] = SPLITS) -> Dataset:
        """Return the data set with images and labels of ``splits`` on ``device``.

        Other splits stay where they are. The statistics of the pixels go with the train slice,
        which they were fitted on: who does not use it does not use them either.
        """
        moved = {
            name: tensor.to(device)
            for name, tensor in self.tensors().items()
            if name.startswith(tuple(splits))
        }
        pixels = self.pixels
        if "train" in splits:
            statistics = {name: value.to(device) for name, value in pixels.tensors().items()}
            pixels = load_pixel_transform(pixels.name, statistics)
        return replace(self, pixels=pixels, **moved)  # type: ignore[arg-type]  # only tensors

    def has_on(self, split: str, device: str) -> bool:
        """Return whether the images of ``split`` are on ``device``, of whatever number."""
        images: Tensor = getattr(self, f"{split}_images")
        return images.device.type == torch.device(device).type


def with_test_split_for_choices(dataset: Dataset) -> Dataset:
    """Return ``dataset`` with the test split in the place of the validation slice.

    Only for the protocol of the original codes, which choose iterates on the test split.
    """
    return replace(
        dataset, validation_images=dataset.test_images, validation_labels=dataset.test_labels
    )


def only_classes(
    dataset: Dataset, classes: Sequence[int], splits: Sequence[str] = SPLITS
) -> Dataset:
    """Return the images of ``classes`` in ``splits``, numbered from 0 in their order.

    Other splits are empty.
    """
    positions = torch.full((dataset.num_classes,), -1, dtype=torch.int64)
    positions[torch.tensor(classes)] = torch.arange(len(classes))
    tensors = dataset.tensors()
    chosen: dict[str, Tensor] = {}
    for split in SPLITS:
        images, old = tensors[f"{split}_images"], tensors[f"{split}_labels"]
        if split not in splits:
            images, old = images[:0], old[:0]
        labels = positions.to(old.device)[old]
        rows = (labels >= 0).nonzero().flatten()
        chosen[f"{split}_images"] = images[rows]
        chosen[f"{split}_labels"] = labels[rows]
    names = tuple(dataset.classes[label] for label in classes)
    return replace(dataset, classes=names, **chosen)  # type: ignore[arg-type]  # only tensors


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write ``dataset`` to ``folder`` as one safetensors file."""
    statistics = {f"pixels.{name}": value for name, value in dataset.pixels.tensors().items()}
    metadata: dict[str, Json] = {
        "schema": SCHEMA,
        "classes": list(dataset.classes),
        "preprocessing": dataset.pixels.name,
        "fingerprint": dataset.fingerprint,
        "source": dataset.source,
    }
    save_tensors(folder / DATASET, {**dataset.tensors(), **statistics}, metadata)


def load_dataset(folder: Path, device: str = "cpu", splits: Sequence[str] = SPLITS) -> Dataset:
    """Return the data set that :func:`save_dataset` wrote to ``folder``, ``splits`` on ``device``.

    The last two read stay in memory, so that the next step of a reused worker finds them there,
    and the splits that were wanted on a device stay there; the log says how many bytes that are.
    Everybody in a process gets the same tensors, which must not be changed.

    Args:
        folder: Of the artifact.
        device: Where it is used.
        splits: What is used, of ``train``, ``validation`` and ``test``: the rest may stay on the
            CPU.

    Raises:
        FormatError: if there is none, or of another schema.
    """
    path = folder / DATASET
    try:
        modified = path.stat().st_mtime_ns
    except OSError as error:
        msg = f"{path} can't be read ({error.strerror}); it should hold a data set"
        raise FormatError(msg) from error
    return KEPT.get((path, modified), lambda: _read(path), device, splits)


KEPT = KeptSets()
"""What this process has read."""


def _read(path: Path) -> Dataset:
    tensors, metadata = load_tensors(path)
    if metadata.get("schema") != SCHEMA:
        msg = f"{path} has schema {metadata.get('schema')}, this version reads {SCHEMA}"
        raise FormatError(msg)
    prefix = "pixels."
    statistics = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    images = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    return Dataset(
        **images,
        classes=tuple(metadata["classes"]),
        pixels=load_pixel_transform(metadata["preprocessing"], statistics),
        fingerprint=metadata["fingerprint"],
        source=metadata["source"],
    )
