"""DataSource: what every source of real images is, and the images that it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pdd_ray.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pdd_ray.data.content import Content

CHUNK = 256
"""Images of an array that are handed on at once."""


class NoOptions(FrozenModel):
    """The options of a source that has none of its own."""


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


@dataclass(frozen=True)
class DataSource(ABC):
    """Where the images of a data set come from.

    Its name is how sweeps call it, ``data: {source: NAME}``. :meth:`content` is asked when a sweep
    is planned and imports neither torch nor torchvision; :meth:`read` is asked by the data step.

    Attributes:
        root: ``data.root`` as an absolute path.
        download: ``data.download``.
        options: ``data.options`` as a value of :attr:`Options`.
    """

    root: Path
    download: bool = False
    options: FrozenModel = NoOptions()  # noqa: RUF009 - frozen

    name: ClassVar[str] = ""
    """Name in a sweep; empty for a class that is only a base of others."""
    Options: ClassVar[type[FrozenModel]] = NoOptions
    """Its own settings, ``data.options``; they are part of the identity."""
    needs_root: ClassVar[bool] = True
    """Whether it reads ``data.root``."""
    own_images: ClassVar[bool] = False
    """Whether tables name the data set after its folder or file, and not after the source."""
    as_rgb: ClassVar[bool] = False
    """Whether images are read as RGB if ``data.channels`` is ``keep``, since some are gray."""

    @abstractmethod
    def content(self, cache: Path) -> Content:
        """Return what the data set holds, remembered in the folder ``cache`` or examined.

        Raises:
            DataError: if it is missing, incomplete or not readable.
        """

    def known(self) -> Content | None:
        """Return what is published of a data set that is not there at all; None otherwise.

        Enough to plan with: what a run takes is known before anything is downloaded.
        """
        return None

    @abstractmethod
    def read(self) -> tuple[RawSplit, RawSplit]:
        """Return the training images and the test images.

        Raises:
            DataError: if they can't be read; chunks raise it too.
        """


def array_split(
    images: NDArray[np.uint8], labels: NDArray[np.int64], maximum: int = 255
) -> RawSplit:
    """Return images [N, H, W, C] and labels [N] that are in memory as a split."""
    starts = range(0, len(images), CHUNK)
    chunks = (images[start : start + CHUNK].copy(order="C") for start in starts)
    return RawSplit(labels=labels, chunks=chunks, maximum=maximum)
