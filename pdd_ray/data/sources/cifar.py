"""CIFAR-10 and CIFAR-100, read through torchvision.

Their files are pickles, so their MD5 is compared with the published one before any of them is read,
here and once more by torchvision.
"""

from __future__ import annotations

from typing import ClassVar

from pdd_ray.core.errors import DataError
from pdd_ray.data.published import Published, PublishedSource
from pdd_ray.data.source import RawSplit, array_split

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


class _CifarSource(PublishedSource):
    """CIFAR-10 or CIFAR-100."""

    def read_split(self, *, train: bool) -> RawSplit:
        """Return the images of one split; torchvision compares MD5s before it unpickles."""
        import numpy as np

        try:
            dataset = self.torchvision()(self.root, train=train)
        except RuntimeError as error:
            msg = f"{self.name} in {self.root} can't be read ({error}); download it again"
            raise DataError(msg) from error
        return array_split(dataset.data, np.array(dataset.targets, dtype=np.int64))


class Cifar10(_CifarSource):
    """CIFAR-10 (Krizhevsky 2009)."""

    name: ClassVar[str] = "cifar10"
    published: ClassVar[Published] = CIFAR10
    torchvision_class: ClassVar[str] = "CIFAR10"


class Cifar100(_CifarSource):
    """CIFAR-100 (Krizhevsky 2009)."""

    name: ClassVar[str] = "cifar100"
    published: ClassVar[Published] = CIFAR100
    torchvision_class: ClassVar[str] = "CIFAR100"
