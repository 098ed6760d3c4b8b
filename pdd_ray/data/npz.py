"""Data sets in one .npz file.

Arrays: ``train_images``, ``train_labels``, ``test_images``, ``test_labels`` and, optionally,
``classes`` (class names, by label). Images are uint8: [N, H, W] are gray; four axes are
[N, H, W, C] whenever the last axis has 1 or 3 entries, otherwise [N, C, H, W] if the second has.
Labels are integers 0 .. K - 1. Nothing is unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from pdd_ray.core.errors import DataError
from pdd_ray.core.identities import digest, file_digest
from pdd_ray.data.content import Channels, Content, Size

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class NpzArrays:
    """The arrays of a file: images uint8 [N, H, W, C] with C = 1 or 3, labels int64 [N]."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]


def read_npz(path: Path) -> NpzArrays:
    """Return the arrays of the file.

    Raises:
        DataError: if it has another layout.
    """
    raw = _load(path)
    images = {
        split: _channels_last(raw[f"{split}_images"], f"{split}_images of {path}")
        for split in ("train", "test")
    }
    if images["train"].shape[1:] != images["test"].shape[1:]:
        msg = (
            f"train_images of {path} have [H, W, C] {images['train'].shape[1:]}, test_images "
            f"{images['test'].shape[1:]}; make them agree"
        )
        raise DataError(msg)
    labels = {
        split: _labels(raw[f"{split}_labels"], len(images[split]), f"{split}_labels of {path}")
        for split in ("train", "test")
    }
    return NpzArrays(
        train_images=images["train"],
        train_labels=labels["train"],
        test_images=images["test"],
        test_labels=labels["test"],
        classes=_classes(raw.get("classes"), labels, path),
    )


def examine_npz(path: Path) -> Content:
    """Return the content of the file.

    Raises:
        DataError: if it has another layout, or a class without training or test images.
    """
    arrays = read_npz(path)
    count = len(arrays.classes)
    _, height, width, channels = arrays.train_images.shape
    return Content(
        fingerprint=digest({"source": "npz", "file": file_digest(path)}),
        classes=arrays.classes,
        train_counts=tuple(np.bincount(arrays.train_labels, minlength=count).tolist()),
        test_counts=tuple(np.bincount(arrays.test_labels, minlength=count).tolist()),
        sizes=(Size(height, width, "train_images"),),
        channels=(Channels(channels, "train_images"),),
    )


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream, _open(stream) as file:
            missing = [name for name in ARRAYS if name not in file]
            if not missing:
                return {name: file[name] for name in file if name in (*ARRAYS, "classes")}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        msg = f"{path} can't be read as .npz without pickles ({error}); save it with numpy.savez"
        raise DataError(msg) from error
    msg = f"{path} has no array {missing[0]!r}; save {', '.join(ARRAYS)} with numpy.savez"
    raise DataError(msg)


def _open(stream: BinaryIO) -> np.lib.npyio.NpzFile:
    file = np.load(stream, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
        msg = "it holds one array without a name"
        raise ValueError(msg)
    return file


def _channels_last(images: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return ``images`` as [N, H, W, C]."""
    layout = _layout(images.shape)
    if images.dtype != np.uint8 or layout is None or images.size == 0:
        msg = (
            f"{name} is {images.dtype} {list(images.shape)}; allowed is uint8, not empty, "
            "[N, H, W], or [N, H, W, C] or [N, C, H, W] with C = 1 or 3"
        )
        raise DataError(msg)
    if layout == "NHW":
        return images[..., None]
    return images if layout == "NHWC" else np.moveaxis(images, 1, 3)


def _layout(shape: tuple[int, ...]) -> Literal["NHW", "NHWC", "NCHW"] | None:
    if len(shape) == 3:
        return "NHW"
    if len(shape) == 4 and shape[3] in (1, 3):
        return "NHWC"
    return "NCHW" if len(shape) == 4 and shape[1] in (1, 3) else None


def _labels(labels: NDArray[Any], count: int, name: str) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu" or labels.shape != (count,) or labels.min() < 0:
        msg = (
            f"{name} is {labels.dtype} {list(labels.shape)} for {count} images; allowed are "
            "integers 0 .. K - 1, one per image"
        )
        raise DataError(msg)
    return labels.astype(np.int64)


def _classes(
    names: NDArray[Any] | None, labels: dict[str, NDArray[np.int64]], path: Path
) -> tuple[str, ...]:
    largest = int(max(labels["train"].max(), labels["test"].max()))
    if names is None:
        classes = tuple(str(label) for label in range(largest + 1))
    else:
        classes = tuple(str(name) for name in names.ravel())
        if names.dtype.kind != "U" or len(set(classes)) < len(classes) or largest >= len(classes):
            msg = (
                f"classes of {path} are {len(classes)} values of type {names.dtype} for labels up "
                f"to {largest}; allowed are different strings, one per label"
            )
            raise DataError(msg)
    for split, values in labels.items():
        absent = set(range(len(classes))).difference(values.tolist())
        if absent:
            msg = f"class {classes[min(absent)]!r} has no image in {split}_labels of {path}"
            raise DataError(f"{msg}; add images or number the classes without gaps")
    return classes
