"""Data sets whose files are known beforehand: compared with their published MD5, then read."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pdd_ray.core.errors import DataError
from pdd_ray.core.identities import digest
from pdd_ray.data.content import Channels, Content, Size, remembered
from pdd_ray.data.source import DataSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pdd_ray.data.source import RawSplit


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


class PublishedSource(DataSource):
    """A published data set in the folder ``root``, which torchvision can download."""

    published: ClassVar[Published]
    """What is known of it."""
    torchvision_class: ClassVar[str]
    """Its class in ``torchvision.datasets``."""

    def content(self, cache: Path) -> Content:
        """Return what is known of it, after comparing the files if they are there."""
        data = self.published
        if data.missing(self.root):
            return data.content if self.download else data.verify(self.root)
        return remembered(cache, self.name, self.root, data.files, partial(data.verify, self.root))

    def known(self) -> Content | None:
        """Return what is known of it if none of its files is there."""
        data = self.published
        return data.content if len(data.missing(self.root)) == len(data.files) else None

    def read(self) -> tuple[RawSplit, RawSplit]:
        """Return the training images and the test images, after comparing the files."""
        if self.download and self.published.missing(self.root):
            self._download()
        self.published.verify(self.root)
        return self.read_split(train=True), self.read_split(train=False)

    @abstractmethod
    def read_split(self, *, train: bool) -> RawSplit:
        """Return the images of one split from files that have been compared."""

    def torchvision(self) -> Any:  # noqa: ANN401 - torchvision has no types
        """Return the class in ``torchvision.datasets``."""
        from torchvision import datasets  # takes a second to import

        return getattr(datasets, self.torchvision_class)

    def _download(self) -> None:
        try:
            for train in (True, False):
                self.torchvision()(self.root, train=train, download=True)
        except (OSError, RuntimeError) as error:
            msg = f"{self.name} can't be downloaded to {self.root} ({error}); put its files there"
            raise DataError(msg) from error
