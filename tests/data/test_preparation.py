"""From 8-bit images to pixels: channels, scale, size and pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pdd_ray.data.preparation import convert_channels, prepare_pixels
from pdd_ray.data.source import RawSplit
from pdd_ray.data.spec import DataSpec


def split_of(*chunks: np.ndarray, maximum: int = 255) -> RawSplit:
    count = sum(len(chunk) for chunk in chunks)
    return RawSplit(np.zeros(count, dtype=np.int64), iter(chunks), maximum)


def random_images(count: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def test_full_brightness_is_one_and_layout_is_channels_first() -> None:
    images = random_images(3, 4, 5)
    pixels = prepare_pixels(split_of(images), DataSpec(), (3, 4, 5))
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous()
    expected = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(pixels.numpy(), expected)


def test_digits_have_sixteen_as_full_brightness() -> None:
    images = np.full((1, 2, 2, 1), 16, dtype=np.uint8)
    assert prepare_pixels(split_of(images, maximum=16), DataSpec(), (1, 2, 2)).eq(1).all()


def test_gray_is_what_pillow_makes_of_rgb() -> None:
    images = random_images(1, 64, 64)
    expected = np.asarray(Image.fromarray(images[0]).convert("L"))
    np.testing.assert_array_equal(convert_channels(images, 1)[0, :, :, 0], expected)


def test_rgb_of_gray_repeats_it() -> None:
    images = random_images(2, 3, 4, 1)
    np.testing.assert_array_equal(convert_channels(images, 3), np.repeat(images, 3, -1))


def test_pooling_takes_means_of_blocks() -> None:
    images = random_images(2, 4, 6)
    pixels = prepare_pixels(split_of(images), DataSpec(pool=2), (3, 2, 3))
    blocks = images.reshape(2, 2, 2, 3, 2, 3).mean((2, 4)) / 255
    # float32 sums of four values
    np.testing.assert_allclose(pixels.numpy(), blocks.transpose(0, 3, 1, 2), rtol=1e-6)


def test_images_of_different_sizes_are_resized_in_order() -> None:
    chunks = [random_images(2, 8, 8), random_images(1, 5, 9), random_images(3, 4, 4)]
    spec = DataSpec(resize=(4, 4))
    together = prepare_pixels(split_of(*chunks), spec, (3, 4, 4))
    apart = [prepare_pixels(split_of(chunk), spec, (3, 4, 4)) for chunk in chunks]
    assert torch.equal(together, torch.cat(apart))
    assert torch.equal(apart[2], prepare_pixels(split_of(chunks[2]), DataSpec(), (3, 4, 4)))


@pytest.mark.parametrize("size", [(4, 6), (16, 20)])
def test_resizing_is_close_to_pillows_antialiased_bilinear(size: tuple[int, int]) -> None:
    images = random_images(1, 8, 10)
    pixels = prepare_pixels(split_of(images), DataSpec(resize=size), (3, *size))
    height, width = size
    resized = Image.fromarray(images[0]).resize((width, height), Image.Resampling.BILINEAR)
    # Pillow rounds to 8 bits after each of its two passes
    np.testing.assert_allclose(
        pixels[0].permute(1, 2, 0).numpy() * 255, np.asarray(resized), atol=1.01
    )
    assert pixels.min() >= 0
    assert pixels.max() <= 1
