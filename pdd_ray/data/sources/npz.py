"""Somebody's own images in one ``.npz`` file (:mod:`pdd_ray.data.npz` says which arrays)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pdd_ray.core.errors import DataError
from pdd_ray.data.content import remembered
from pdd_ray.data.source import DataSource, RawSplit, array_split

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.data.content import Content


class NpzFile(DataSource):
    """Arrays in the file ``root``."""

    name: ClassVar[str] = "npz"
    own_images: ClassVar[bool] = True

    def content(self, cache: Path) -> Content:
        """Return what the arrays hold; the file is read once."""
        from pdd_ray.data.npz import examine_npz  # imports numpy

        if not self.root.is_file():
            msg = f"data.root {self.root} is not a file; source npz needs the path of an .npz file"
            raise DataError(msg)
        return remembered(cache, self.name, self.root, ("",), partial(examine_npz, self.root))

    def read(self) -> tuple[RawSplit, RawSplit]:
        """Return the training images and the test images."""
        from pdd_ray.data.npz import read_npz

        arrays = read_npz(self.root)
        return (
            array_split(arrays.train_images, arrays.train_labels),
            array_split(arrays.test_images, arrays.test_labels),
        )
