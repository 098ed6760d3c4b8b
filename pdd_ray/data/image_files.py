"""ImageFilesSource: a source whose images are files in folders."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from pdd_ray.data.content import remembered
from pdd_ray.data.source import DataSource, RawSplit

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.data.content import Content
    from pdd_ray.data.listing import Listing


class ImageFilesSource(DataSource):
    """A data set made of image files; a derived class says which files there are."""

    @abstractmethod
    def files(self) -> Listing:
        """Return the files, each with its class.

        Raises:
            DataError: if the layout is another one.
        """

    def content(self, cache: Path) -> Content:
        """Return what the files hold; every file is read once."""
        from pdd_ray.data.images import examine_images  # imports numpy and Pillow

        listing = self.files()
        examine = partial(examine_images, listing)
        return remembered(cache, self.name, self.root, listing.paths(), examine)

    def read(self) -> tuple[RawSplit, RawSplit]:
        """Return the training images and the test images, decoded chunk by chunk."""
        import numpy as np

        from pdd_ray.data.images import decode_images

        listing = self.files()
        train, test = (
            RawSplit(
                labels=np.array([file.label for file in files], dtype=np.int64),
                chunks=decode_images(listing.root, files),
            )
            for files in (listing.train, listing.test)
        )
        return train, test
