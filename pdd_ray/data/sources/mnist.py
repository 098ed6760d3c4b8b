"""MNIST and Fashion-MNIST; their files are read directly, since their layout is known."""

from __future__ import annotations

from typing import ClassVar

from pdd_ray.data.published import Published, PublishedSource
from pdd_ray.data.source import RawSplit, array_split

IDX_HEADERS = {"images": 16, "labels": 8}
"""Bytes before the data: magic number and sizes, 4 bytes each."""

_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

# MD5 of the unpacked files (torchvision publishes those of the .gz files only).
MNIST = Published(
    source="mnist",
    files={
        "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    classes=tuple("0123456789"),
    train_counts=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    test_counts=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    shape=(1, 28, 28),
)
FASHION_MNIST = Published(
    source="fashion_mnist",
    files={
        "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "FashionMNIST/raw/train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    classes=_FASHION_CLASSES,
    train_counts=(6000,) * 10,
    test_counts=(1000,) * 10,
    shape=(1, 28, 28),
)


class Mnist(PublishedSource):
    """MNIST (LeCun et al. 1998)."""

    name: ClassVar[str] = "mnist"
    published: ClassVar[Published] = MNIST
    torchvision_class: ClassVar[str] = "MNIST"

    def read_split(self, *, train: bool) -> RawSplit:
        """Return the images of one split."""
        import numpy as np

        prefix = "train" if train else "t10k"
        images, labels = (
            np.fromfile(self.root / name, dtype=np.uint8, offset=IDX_HEADERS[kind])
            for kind in ("images", "labels")
            for name in self.published.files
            if f"{prefix}-{kind}" in name
        )
        channels, height, width = self.published.shape
        pixels = images.reshape(-1, height, width, channels)
        return array_split(pixels, labels.astype(np.int64))


class FashionMnist(Mnist):
    """Fashion-MNIST (Xiao et al. 2017), in the format of MNIST."""

    name: ClassVar[str] = "fashion_mnist"
    published: ClassVar[Published] = FASHION_MNIST
    torchvision_class: ClassVar[str] = "FashionMNIST"
