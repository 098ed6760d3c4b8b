"""CutMix as IDC uses it: a box of each image is replaced by that of another (Yun et al. 2019)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """Rows from ``row`` and columns from ``col`` on, before ``row_end`` and ``col_end``."""

    row: int
    col: int
    row_end: int
    col_end: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return (self.row_end - self.row) * (self.col_end - self.col)


@dataclass(frozen=True, eq=False)
class CutMix:
    """How the images of a batch are mixed (specification of other methods, section 0.4).

    Attributes:
        permutation: Partner of each image, int64 [N].
        box: What is taken from the partner, the same box for all images.
        ratio: Weight r of an image's own label; its partner's has 1 - r.
    """

    permutation: Tensor
    box: Box
    ratio: float

    def apply(self, images: Tensor) -> Tensor:
        """Return ``images`` [N, C, H, W], each with its partner's box; differentiable."""
        box = (..., slice(self.box.row, self.box.row_end), slice(self.box.col, self.box.col_end))
        mixed = images.clone()
        mixed[box] = images[box][self.permutation.to(images.device)]
        return mixed


def draw_cutmix(
    probability: float, batch_size: int, height: int, width: int, source: torch.Generator
) -> CutMix | None:
    """Draw how a batch is mixed, with ``probability``; else None.

    lambda is distributed as Beta(1, 1), which is uniform, and so are the centre and the partners.

    Args:
        probability: of mixing the batch at all.
        batch_size: N.
        height: H.
        width: W.
        source: a CPU generator, the only source of randomness.
    """
    if float(torch.rand((), generator=source, dtype=torch.float64)) >= probability:
        return None
    lam = float(torch.rand((), generator=source, dtype=torch.float64))
    row, col = (int(torch.randint(size, (), generator=source)) for size in (height, width))
    box = box_of(lam, row, col, height, width)
    permutation = torch.randperm(batch_size, generator=source)
    return CutMix(permutation, box, label_ratio(box, height, width))


def box_of(lam: float, centre_row: int, centre_col: int, height: int, width: int) -> Box:
    """Return the box around the centre with about ``1 - lam`` of the area, clipped to the image.

    Its sides are ``sqrt(1 - lam)`` of the image's, rounded down to an even number of pixels.
    """
    part = math.sqrt(1 - lam)
    row, row_end = _side(part, centre_row, height)
    col, col_end = _side(part, centre_col, width)
    return Box(row, col, row_end, col_end)


def label_ratio(box: Box, height: int, width: int) -> float:
    """Return the part of an image that ``box`` leaves, which weighs the image's own label."""
    return 1 - box.area / (height * width)


def _side(part: float, centre: int, size: int) -> tuple[int, int]:
    half = int(size * part) // 2
    return max(centre - half, 0), min(centre + half, size)
