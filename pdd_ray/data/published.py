"""Data sets whose content is known beforehand: digits, CIFAR, MNIST and Fashion-MNIST.

CIFAR's files are pickles, so their MD5 is compared with the published one before any of them is
read, here and once more by torchvision. MNIST's and Fashion-MNIST's files are compared too.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pdd_ray.core.errors import DataError
from pdd_ray.core.identities import digest
from pdd_ray.data.content import Channels, Content, Size


@dataclass(frozen=True)
class Published:
    """A data set that torchvision can download.

    Attributes:
        source: Its name in a configuration.
        files: MD5 of each file that is read, by its path relative to ``data.root``.
        classes: Class names, by label.
        train_counts: Training images per class.
        test_counts: Test images per class.
        shape: (C, H, W) of its images.
    """

    source: str
    files: Mapping[str, str]
    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    shape: tuple[int, int, int]

    @property
    def content(self) -> Content:
        """What it holds; the fingerprint is made of the name and the MD5 of its files."""
        channels, height, width = self.shape
        return Content(
            fingerprint=digest({"source": self.source, "md5": self.files}),
            classes=self.classes,
            train_counts=self.train_counts,
            test_counts=self.test_counts,
            sizes=(Size(height, width, self.source),),
            channels=(Channels(channels, self.source),),
        )

    def missing(self, root: Path) -> list[str]:
        """Return the files that are not in ``root``."""
        return [name for name in self.files if not (root / name).is_file()]

    def verify(self, root: Path) -> Content:
        """Return what it holds, after comparing the MD5 of every file.

        Raises:
            DataError: if a file is missing or has another content.
        """
        missing = self.missing(root)
        if missing:
            layout = ", ".join(f"{name} (MD5 {md5})" for name, md5 in self.files.items())
            msg = (
                f"{root / missing[0]} is missing; data.root of {self.source} is the folder that "
                f"holds {layout}; set `data.download: true` to let torchvision download them"
            )
            raise DataError(msg)
        for name, md5 in self.files.items():
            found = _md5(root / name)
            if found != md5:
                msg = (
                    f"{root / name} has MD5 {found} instead of {md5}; remove it and unpack or "
                    "download it again"
                )
                raise DataError(msg)
        return self.content


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        msg = f"{path} can't be read ({error.strerror}); restore it"
        raise DataError(msg) from error


DIGITS = Content(
    fingerprint="f84f0c03939e9f94389536ff3fa3ad94",
    classes=tuple("0123456789"),
    train_counts=(127, 130, 126, 130, 129, 130, 129, 127, 124, 128),
    test_counts=(51, 52, 51, 53, 52, 52, 52, 52, 50, 52),
    sizes=(Size(8, 8, "digits"),),
    channels=(Channels(1, "digits"),),
)
"""The handwritten digits of scikit-learn (UCI, CC BY 4.0), with our own test split. The
fingerprint is that of :func:`pdd_ray.data.reading.digits_fingerprint`."""

_CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

_CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup",
    "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
    "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man",
    "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal",
    "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
    "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
)  # fmt: skip

_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

# MD5 of the files as torchvision.datasets.CIFAR10 and CIFAR100 publish them.
CIFAR10 = Published(
    source="cifar10",
    files={
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    classes=_CIFAR10_CLASSES,
    train_counts=(5000,) * 10,
    test_counts=(1000,) * 10,
    shape=(3, 32, 32),
)
CIFAR100 = Published(
    source="cifar100",
    files={
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    },
    classes=_CIFAR100_CLASSES,
    train_counts=(500,) * 100,
    test_counts=(100,) * 100,
    shape=(3, 32, 32),
)
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

PUBLISHED = {data.source: data for data in (CIFAR10, CIFAR100, MNIST, FASHION_MNIST)}
"""The data sets that torchvision can download, by source."""
