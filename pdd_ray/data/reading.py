"""Reading a data set: its training and test images as 8-bit arrays, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdd_ray.core.errors import DataError
from pdd_ray.core.identities import bytes_digest, digest
from pdd_ray.data.facts import LISTINGS, absolute_root, list_files
from pdd_ray.data.images import decode_images
from pdd_ray.data.npz import read_npz
from pdd_ray.data.published import DIGITS, PUBLISHED
from pdd_ray.data.split import digits_split

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from pdd_ray.configuration.data import DataSpec
    from pdd_ray.data.published import Published

CHUNK = 256
"""Images of an array that are handed on at once."""
TORCHVISION_CLASSES = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
}
IDX_HEADERS = {"images": 16, "labels": 8}
"""Bytes before the data in MNIST's files: magic number and sizes, 4 bytes each."""


@dataclass(frozen=True)
class RawSplit:
    """The images of one split.

    Attributes:
        labels: Classes, int64 [N].
        chunks: Yields the images in order, uint8 [n, H, W, C] with C = 1 or 3; read it once.
        maximum: The value that stands for full brightness.
    """

    labels: NDArray[np.int64]
    chunks: Iterator[NDArray[np.uint8]]
    maximum: int = 255


def read_splits(spec: DataSpec) -> tuple[RawSplit, RawSplit]:
    """Return the training images and the test images of a data set.

    Raises:
        DataError: if it can't be read; chunks raise it too.
    """
    if spec.source == "digits":
        return _read_digits()
    if spec.source in LISTINGS:
        listing = list_files(spec)
        train, test = (
            RawSplit(
                labels=np.array([file.label for file in files], dtype=np.int64),
                chunks=decode_images(listing.root, files),
            )
            for files in (listing.train, listing.test)
        )
        return train, test
    if spec.source == "npz":
        arrays = read_npz(absolute_root(spec))
        return (
            _array_split(arrays.train_images, arrays.train_labels),
            _array_split(arrays.test_images, arrays.test_labels),
        )
    return _read_published(PUBLISHED[spec.source], absolute_root(spec), download=spec.download)


def digits_fingerprint(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """Return the fingerprint of digits: of its values 0 .. 16, its labels and the test split."""
    _, test = digits_split(labels.tolist())
    return digest(
        {
            "source": "digits",
            "images": bytes_digest(images.tobytes()),
            "labels": labels.tolist(),
            "test": test,
        }
    )


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the digits of scikit-learn: uint8 [1797, 8, 8, 1] of 0 .. 16, and int64 [1797]."""
    from sklearn import datasets  # takes seconds to import

    bunch = datasets.load_digits()
    return bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.int64)


def _read_digits() -> tuple[RawSplit, RawSplit]:
    images, labels = load_digits()
    if digits_fingerprint(images, labels) != DIGITS.fingerprint:
        msg = "the digits of this scikit-learn differ from those known; install another version"
        raise DataError(msg)
    train, test = digits_split(labels.tolist())
    return (
        _array_split(images[train], labels[train], maximum=16),
        _array_split(images[test], labels[test], maximum=16),
    )


def _read_published(data: Published, root: Path, *, download: bool) -> tuple[RawSplit, RawSplit]:
    if download and data.missing(root):
        _download(data.source, root)
    data.verify(root)
    read = _read_cifar if data.source in ("cifar10", "cifar100") else _read_mnist
    return read(data, root, train=True), read(data, root, train=False)


def _download(source: str, root: Path) -> None:
    try:
        for train in (True, False):
            _torchvision_class(source)(root, train=train, download=True)
    except (OSError, RuntimeError) as error:
        msg = f"{source} can't be downloaded to {root} ({error}); put its files there"
        raise DataError(msg) from error


def _torchvision_class(source: str) -> Any:  # noqa: ANN401 - torchvision has no types
    from torchvision import datasets  # takes a second to import

    return getattr(datasets, TORCHVISION_CLASSES[source])


def _read_cifar(data: Published, root: Path, *, train: bool) -> RawSplit:
    """Read CIFAR through torchvision, which compares MD5s before it unpickles."""
    try:
        dataset = _torchvision_class(data.source)(root, train=train)
    except RuntimeError as error:
        msg = f"{data.source} in {root} can't be read ({error}); download it again"
        raise DataError(msg) from error
    return _array_split(dataset.data, np.array(dataset.targets, dtype=np.int64))


def _read_mnist(data: Published, root: Path, *, train: bool) -> RawSplit:
    """Read MNIST's files directly: their content, and so their layout, is known."""
    prefix = "train" if train else "t10k"
    images, labels = (
        np.fromfile(root / name, dtype=np.uint8, offset=IDX_HEADERS[kind])
        for kind in ("images", "labels")
        for name in data.files
        if f"{prefix}-{kind}" in name
    )
    channels, height, width = data.shape
    return _array_split(images.reshape(-1, height, width, channels), labels.astype(np.int64))


def _array_split(
    images: NDArray[np.uint8], labels: NDArray[np.int64], maximum: int = 255
) -> RawSplit:
    starts = range(0, len(images), CHUNK)
    chunks = (np.ascontiguousarray(images[start : start + CHUNK]) for start in starts)
    return RawSplit(labels=labels, chunks=chunks, maximum=maximum)
