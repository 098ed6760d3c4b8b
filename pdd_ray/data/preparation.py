"""From 8-bit images to float32 pixels in [0, 1]: channels, size and pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pdd_ray.data.source import RawSplit
    from pdd_ray.data.spec import DataSpec

LUMA = (19595, 38470, 7471)
"""Weights of R, G and B in gray, times 65536 (ITU-R BT.601, as Pillow rounds them)."""


def prepare_pixels(split: RawSplit, spec: DataSpec, shape: tuple[int, int, int]) -> Tensor:
    """Return the images of ``split`` as pixels in [0, 1], float32 [N, C, H, W].

    ``shape`` is (C, H, W) after channels, resize and pool.
    """
    pixels = torch.empty(len(split.labels), *shape)
    start = 0
    for chunk in split.chunks:
        prepared = _prepare(chunk, split.maximum, spec, shape[0])
        pixels[start : start + len(chunk)] = prepared
        start += len(chunk)
    return pixels


def convert_channels(images: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return ``images``, uint8 [n, H, W, 1 or 3], with ``channels`` channels (1 or 3)."""
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    weighted = (images.astype(np.uint32) * np.array(LUMA, dtype=np.uint32)).sum(-1, keepdims=True)
    gray: NDArray[np.uint8] = ((weighted + 0x8000) >> 16).astype(np.uint8)
    return gray


def _prepare(images: NDArray[np.uint8], maximum: int, spec: DataSpec, channels: int) -> Tensor:
    """Return uint8 [n, H, W, C] images as prepared pixels, float32 [n, C, H, W]."""
    converted = torch.from_numpy(convert_channels(images, channels))
    pixels = converted.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    pixels /= maximum
    if spec.resize is not None and tuple(pixels.shape[2:]) != spec.resize:
        pixels = F.interpolate(pixels, size=spec.resize, mode="bilinear", antialias=True)
    if spec.pool > 1:
        pixels = F.avg_pool2d(pixels, spec.pool)
    return pixels
