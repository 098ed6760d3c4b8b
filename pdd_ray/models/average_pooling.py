"""Average pooling that is fast on CPUs too."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COLUMNS = 8
"""Images whose width this divides are pooled by a product."""


class AveragePool(nn.Module):
    """Means of 2x2 pixels; a last odd row or column is left out."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the means [N, C, H // 2, W // 2] of ``images`` [N, C, H, W]."""
        *_, height, width = images.shape
        suits = height % 2 == 0 and width % COLUMNS == 0 and images.is_contiguous()
        if suits and images.device.type == "cpu" and not torch.compiler.is_compiling():
            return average_by_product(images)
        return F.avg_pool2d(images, 2, 2)


def average_by_product(images: Tensor) -> Tensor:
    """Return the means [N, C, H / 2, W / 2] of 2x2 pixels of ``images`` [N, C, H, W].

    Two rows of an image times a matrix with a quarter at what belongs to each mean, forwards and
    backwards: two to three times as fast as torch's pooling on a CPU, whose loops don't use vector
    registers. Products with a quarter are exact and zeros change no sum, so finite values are
    those of torch's pooling to the bit where the product sums one column after the other.

    Args:
        images: H is even, W divisible by 8.
    """
    count, channels, height, width = images.shape
    pairs = images.reshape(-1, 2 * width)
    means = pairs @ _quarters(width, images.dtype)
    return means.view(count, channels, height // 2, width // 2)


@lru_cache
def _quarters(width: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix [2 width, width / 2] that takes two rows of pixels to their means."""
    column = torch.arange(width)
    matrix = torch.zeros(2, width, width // 2, dtype=dtype)
    matrix[:, column, column // 2] = 0.25
    return matrix.view(2 * width, width // 2)
