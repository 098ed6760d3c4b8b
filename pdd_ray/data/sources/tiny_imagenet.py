"""Tiny-ImageNet as it is distributed; its validation split is the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pdd_ray.data.image_files import ImageFilesSource
from pdd_ray.data.listing import list_tiny_imagenet

if TYPE_CHECKING:
    from pdd_ray.data.listing import Listing


class TinyImageNet(ImageFilesSource):
    """Tiny-ImageNet (Le and Yang 2015), or a subset of its classes."""

    name: ClassVar[str] = "tiny_imagenet"
    as_rgb: ClassVar[bool] = True

    def files(self) -> Listing:
        """Return the files of both splits."""
        return list_tiny_imagenet(self.root)
