"""The handwritten digits that scikit-learn embeds: 8x8 gray images, no files, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pdd_ray.core.errors import DataError
from pdd_ray.core.identities import bytes_digest, digest
from pdd_ray.data.content import Channels, Content, Size
from pdd_ray.data.source import DataSource, RawSplit, array_split
from pdd_ray.data.split import digits_split

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

DIGITS = Content(
    fingerprint="f84f0c03939e9f94389536ff3fa3ad94",
    classes=tuple("0123456789"),
    train_counts=(127, 130, 126, 130, 129, 130, 129, 127, 124, 128),
    test_counts=(51, 52, 51, 53, 52, 52, 52, 52, 50, 52),
    sizes=(Size(8, 8, "digits"),),
    channels=(Channels(1, "digits"),),
)
"""The handwritten digits of scikit-learn (UCI, CC BY 4.0), with our own test split. The
fingerprint is that of :func:`digits_fingerprint`."""


class Digits(DataSource):
    """The digits of scikit-learn (UCI, CC BY 4.0)."""

    name: ClassVar[str] = "digits"
    needs_root: ClassVar[bool] = False

    def content(self, cache: Path) -> Content:
        """Return what is known of them."""
        del cache
        return DIGITS

    def read(self) -> tuple[RawSplit, RawSplit]:
        """Return the training images and the test images of our own split."""
        images, labels = load_digits()
        if digits_fingerprint(images, labels) != DIGITS.fingerprint:
            msg = "the digits of this scikit-learn differ from those known; install another version"
            raise DataError(msg)
        train, test = digits_split(labels.tolist())
        return (
            array_split(images[train], labels[train], maximum=16),
            array_split(images[test], labels[test], maximum=16),
        )


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
    import numpy as np
    from sklearn import datasets  # takes seconds to import

    bunch = datasets.load_digits()
    return bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.int64)
