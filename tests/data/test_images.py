"""Image files: decoding gives what Pillow gives, in order, or one clear error."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pdd_ray.core.errors import DataError
from pdd_ray.data.images import CHUNK, decode_images, examine_images
from pdd_ray.data.listing import ImageFile, Listing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Path]


def decode_one(path: Path) -> np.ndarray:
    (chunk,) = decode_images(path.parent, [ImageFile(path.name, 0)])
    return chunk[0]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_those_of_the_file(
    make_image: Make, tmp_path: Path, name: str, mode: str
) -> None:
    path = make_image(tmp_path / name, 5, 9, mode)
    with Image.open(path) as image:
        expected = np.asarray(image).reshape(5, 9, -1)
    np.testing.assert_array_equal(decode_one(path), expected)


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("L", 1), ("RGB", 3)]
)
def test_other_modes_become_gray_or_rgb(
    make_image: Make, tmp_path: Path, mode: str, channels: int
) -> None:
    image = decode_one(make_image(tmp_path / "a.png", 5, 9, mode))
    assert image.shape == (5, 9, channels)
    assert image.dtype == np.uint8


def test_a_palette_with_transparency_is_read_without_it(make_image: Make, tmp_path: Path) -> None:
    opaque = make_image(tmp_path / "a.png", 5, 9, "P")
    transparent = make_image(tmp_path / "b.png", 5, 9, "P", transparency=bytes([0, 255]))
    np.testing.assert_array_equal(decode_one(opaque), decode_one(transparent))


def test_cmyk_jpegs_become_rgb(make_image: Make, tmp_path: Path) -> None:
    assert decode_one(make_image(tmp_path / "a.jpg", 5, 9, "CMYK")).shape == (5, 9, 3)


def test_order_is_kept_when_sizes_and_channels_change(make_image: Make, tmp_path: Path) -> None:
    forms = [(4, 4, "RGB"), (4, 4, "RGB"), (4, 4, "L"), (5, 4, "L"), (4, 4, "RGB")]
    files = []
    for index, (height, width, mode) in enumerate(forms):
        make_image(tmp_path / f"{index}.png", height, width, mode, seed=index)
        files.append(ImageFile(f"{index}.png", 0))
    chunks = list(decode_images(tmp_path, files))
    assert [chunk.shape for chunk in chunks] == [
        (2, 4, 4, 3),
        (1, 4, 4, 1),
        (1, 5, 4, 1),
        (1, 4, 4, 3),
    ]
    images = [image for chunk in chunks for image in chunk]
    for file, image in zip(files, images, strict=True):
        np.testing.assert_array_equal(image, decode_one(tmp_path / file.path))


def test_long_lists_are_decoded_in_chunks(make_image: Make, tmp_path: Path) -> None:
    make_image(tmp_path / "a.png", 2, 2)
    files = [ImageFile("a.png", 0)] * (2 * CHUNK + 1)
    assert [len(chunk) for chunk in decode_images(tmp_path, files)] == [CHUNK, CHUNK, 1]


def encoded(file_format: str) -> bytes:
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, file_format)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_truncated_image_is_named(tmp_path: Path, file_format: str) -> None:
    data = encoded(file_format)
    path = tmp_path / "cut.png"
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(DataError, match=r"cut.png can't be decoded"):
        decode_one(path)


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(["PNG", "JPEG"]), st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_damaged_image_is_decoded_or_refused_and_nothing_else(
    tmp_path: Path, file_format: str, position: int, value: int, cut: bool
) -> None:
    data = bytearray(encoded(file_format))
    position %= len(data)
    data[position] = value
    path = tmp_path / "damaged.png"
    path.write_bytes(data[:position] if cut else data)
    listing = Listing("image_folder", tmp_path, ("x",), (ImageFile(path.name, 0),), ())
    refusal = ""
    try:
        examine_images(listing)
        decode_one(path)
    except DataError as error:
        refusal = str(error)
    assert not refusal or str(path) in refusal
