"""Images of a batch after one operation each, with as few operators as one image would take.

Which image gets which operation, and all that does not depend on pixels, is known on the CPU, where
the random numbers are drawn. What is left for the device of the images is to read pixels at other
places, to turn some images and to add noise to others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pdd_ray.core.transfers import moved
from pdd_ray.training.augmentation.spline import turned_by

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Reading:
    """Where the pixels of N images are read: in the flattened image, at ``rows + cols``.

    Attributes:
        rows: First position of the row that each row is read from, int64 [N, H]; H * W outside.
        cols: Position in that row, int64 [N, W]; H * W outside.
    """

    rows: Tensor
    cols: Tensor


@dataclass(frozen=True, eq=False)
class Mixture:
    """What the operations of a batch of N images come down to.

    Attributes:
        reading: Where pixels are read; None if no image is shifted or scaled.
        around: 1 for images with the batch's mean of their channel around them, 0 for those with
            zeros, [N, 1, 1].
        turned: Images that are rotated, int64 [R].
        degrees: By how much, whole degrees, int64 [R].
        noisy: Images that noise is added to, int64 [Q].
        noise: That noise, [Q, C, H, W].
    """

    reading: Reading | None
    around: Tensor
    turned: Tensor
    degrees: Tensor
    noisy: Tensor
    noise: Tensor

    def to(self, device: torch.device) -> Mixture:
        """Return it on ``device``."""
        return moved(self, device)

    def apply(self, images: Tensor) -> Tensor:
        """Return ``images`` [N, C, H, W] after their operations; differentiable in the images."""
        result = images
        means = images.mean(dim=(0, 2, 3))
        if self.reading is not None:
            result = _read(images, self.reading, means[:, None] * self.around)
        if len(self.turned):
            turned = turned_by(images[self.turned], self.degrees, means.mean())
            result = result.index_copy(0, self.turned, turned)
        if len(self.noisy):
            result = result.index_copy(0, self.noisy, images[self.noisy] + self.noise)
        return result


def reading(rows: Tensor, cols: Tensor, height: int, width: int) -> Reading:
    """Return the reading of ``rows`` [N, H] and ``cols`` [N, W], some of them outside."""
    outside = height * width
    return Reading(
        torch.where((rows >= 0) & (rows < height), rows * width, outside),
        torch.where((cols >= 0) & (cols < width), cols, outside),
    )


def _read(images: Tensor, places: Reading, around: Tensor) -> Tensor:
    """Return the pixels at ``places``, and ``around`` [N, C, 1] outside."""
    count, channels, height, width = images.shape
    with_around = torch.cat([images.flatten(2), around], dim=2)
    source = places.rows[:, :, None] + places.cols[:, None, :]
    source = source.clamp_max(height * width).view(count, 1, -1).expand(-1, channels, -1)
    return with_around.gather(2, source).view_as(images)
