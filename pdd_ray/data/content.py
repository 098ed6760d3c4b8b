"""What a data set holds before any preparation, and where that is remembered."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pdd_ray.core.errors import DataError, StoreError
from pdd_ray.core.files import write_json
from pdd_ray.core.identities import digest

CONTENT_FORMAT = 1
"""Raised when remembered contents must be made again."""


@dataclass(frozen=True)
class Size:
    """A size of images in pixels, and one image that has it."""

    height: int
    width: int
    example: str


@dataclass(frozen=True)
class Channels:
    """A number of channels (2 and 4 mean alpha), and one image that has it."""

    count: int
    example: str


@dataclass(frozen=True)
class Content:
    """What a data set holds.

    Attributes:
        fingerprint: Digest of the content (names and file bytes), not of where it lies.
        classes: Class names, by label.
        train_counts: Training images per class.
        test_counts: Test images per class.
        sizes: The sizes of its images: one, or the first two that differ.
        channels: All numbers of channels of its images.
    """

    fingerprint: str
    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    sizes: tuple[Size, ...]
    channels: tuple[Channels, ...]


def remembered(
    cache: Path, source: str, root: Path, paths: Iterable[str], examine: Callable[[], Content]
) -> Content:
    """Return ``examine()``, or what it returned when the files were last as they are now.

    A file is as it was if its path, size, modification time and change time are. ``paths`` are
    relative to ``root`` (an empty path is ``root`` itself); ``cache`` is a folder.

    Raises:
        DataError: if a file can't be read.
    """
    entry = cache / "contents" / f"{_signature(source, root, paths)}.json"
    try:
        return _from_json(read_entry(entry) or {})
    except (KeyError, TypeError):  # not there, or damaged: made again
        content = examine()
        write_entry(entry, asdict(content))
        return content


def read_entry(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``, or None if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_entry(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object to ``path``.

    Raises:
        StoreError: if that is not possible.
    """
    try:
        write_json(path, value)
    except OSError as error:
        msg = (
            f"{path} can't be written ({error.strerror}); give a folder that can be written with "
            "--store or PDD_RAY_STORE"
        )
        raise StoreError(msg) from error


def _signature(source: str, root: Path, paths: Iterable[str]) -> str:
    entries: list[list[str | int]] = []
    for path in paths:
        try:
            status = os.stat(f"{root}/{path}" if path else root)  # noqa: PTH116 - twice as fast
        except OSError as error:
            msg = f"{root / path} can't be read ({error.strerror}); restore it or remove it"
            raise DataError(msg) from error
        entries.append([path, status.st_size, status.st_mtime_ns, status.st_ctime_ns])
    return digest([CONTENT_FORMAT, source, str(root), entries])


def _from_json(value: dict[str, Any]) -> Content:
    return Content(
        fingerprint=value["fingerprint"],
        classes=tuple(value["classes"]),
        train_counts=tuple(value["train_counts"]),
        test_counts=tuple(value["test_counts"]),
        sizes=tuple(Size(**size) for size in value["sizes"]),
        channels=tuple(Channels(**channels) for channels in value["channels"]),
    )
