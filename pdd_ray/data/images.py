"""Image files: their headers and their pixels, as 8-bit arrays."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pdd_ray.core.errors import DataError
from pdd_ray.core.identities import bytes_digest, digest
from pdd_ray.data.content import Channels, Content, Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pdd_ray.core.identities import Json
    from pdd_ray.data.listing import ImageFile, Listing

CHANNELS = {"1": 1, "L": 1, "P": 3, "RGB": 3, "CMYK": 3, "YCbCr": 3, "LA": 2, "PA": 4, "RGBA": 4}
"""Channels by Pillow's mode; 2 and 4 include alpha. Other modes have more than 8 bits."""

GRAY_MODES = ("1", "L", "LA")
CHUNK = 256
"""Images decoded at once."""


def examine_images(listing: Listing) -> Content:
    """Return the content of ``listing``: every file is read, only its header is decoded.

    Raises:
        DataError: if a file can't be read or is not an 8-bit image.
    """
    files: list[Json] = []
    sizes: dict[tuple[int, int], str] = {}
    channels: dict[int, str] = {}
    for file in (*listing.train, *listing.test):
        data = _read(listing.root, file.path)
        files.append([file.path, file.label, bytes_digest(data)])
        count, height, width = _header(data, listing.root / file.path)
        channels.setdefault(count, file.path)
        if len(sizes) < 2:
            sizes.setdefault((height, width), file.path)
    identity: Json = {"source": listing.source, "classes": listing.classes, "files": files}
    return Content(
        fingerprint=digest(identity),
        classes=listing.classes,
        train_counts=listing.counts(listing.train),
        test_counts=listing.counts(listing.test),
        sizes=tuple(Size(*size, example) for size, example in sizes.items()),
        channels=tuple(Channels(count, example) for count, example in channels.items()),
    )


def decode_images(root: Path, files: Sequence[ImageFile]) -> Iterator[NDArray[np.uint8]]:
    """Yield the images in order, in chunks of one size and one number of channels.

    Each chunk is uint8 [n, H, W, C] with C = 1 or 3; alpha is dropped.

    Raises:
        DataError: if a file can't be decoded.
    """
    chunk: list[NDArray[np.uint8]] = []
    for file in files:
        image = _decode(root, file.path)
        if chunk and (image.shape != chunk[0].shape or len(chunk) == CHUNK):
            yield np.stack(chunk)
            chunk = []
        chunk.append(image)
    if chunk:
        yield np.stack(chunk)


def _read(root: Path, path: str) -> bytes:
    try:
        with open(f"{root}/{path}", "rb") as file:  # noqa: PTH123 - twice as fast
            return file.read()
    except OSError as error:
        msg = f"{root / path} can't be read ({error.strerror}); restore it or remove it"
        raise DataError(msg) from error


def _header(data: bytes, path: Path) -> tuple[int, int, int]:
    """Return (channels, height, width) of an encoded image."""
    with _open(data, path) as image:
        mode, (width, height) = image.mode, image.size
        transparent = "transparency" in image.info
    if mode not in CHANNELS:
        msg = f"{path} has pixels of mode {mode!r}; convert it to 8-bit gray or RGB"
        raise DataError(msg)
    return 4 if mode == "P" and transparent else CHANNELS[mode], height, width


def _decode(root: Path, path: str) -> NDArray[np.uint8]:
    """Return an image as uint8 [H, W, C]."""
    with _open(_read(root, path), root / path) as image:
        try:
            if image.mode in ("P", "PA"):  # palettes with alpha have no direct way to RGB
                pixels = image.convert("RGBA").convert("RGB")
            else:
                pixels = image.convert("L" if image.mode in GRAY_MODES else "RGB")
            array = np.asarray(pixels)
        except (OSError, ValueError, SyntaxError) as error:
            msg = f"{root / path} can't be decoded ({error}); replace it or remove it"
            raise DataError(msg) from error
    return array[:, :, None] if array.ndim == 2 else array


def _open(data: bytes, path: Path) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except (OSError, Image.DecompressionBombError) as error:
        msg = f"{path} is not a readable PNG or JPEG image; replace it or remove it"
        raise DataError(msg) from error
