"""Somebody's own images: ``train/CLASS/*`` and ``test/CLASS/*``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pdd_ray.data.image_files import ImageFilesSource
from pdd_ray.data.listing import list_image_folder

if TYPE_CHECKING:
    from pdd_ray.data.listing import Listing


class ImageFolder(ImageFilesSource):
    """Images in folders of classes."""

    name: ClassVar[str] = "image_folder"
    own_images: ClassVar[bool] = True

    def files(self) -> Listing:
        """Return the files of both splits."""
        return list_image_folder(self.root)
