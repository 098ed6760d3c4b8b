"""Affine maps of images, bilinear, with a gradient that is summed in one order if that is wanted.

torch adds the gradient of ``grid_sample`` to pixels in whatever order threads of a GPU arrive, and
has no other way. An affine map can be followed backwards: which output pixels read a pixel lies
around one position, so that every pixel gathers its own gradient.

Letters: N images of C channels, H rows and W columns; K candidates per pixel.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def affine_sample(
    images: Tensor, matrix: Tensor, reach: tuple[float, float], *, align_corners: bool
) -> Tensor:
    """Return ``images`` [N, C, H, W] sampled where ``matrix`` leads, zero outside of them.

    Differentiable in the images. Under ``torch.use_deterministic_algorithms`` the gradient has the
    same bytes in every run on every device; it is that of ``grid_sample`` but for rounding.

    Args:
        images: floating point, at least 2 pixels a side.
        matrix: maps [N, 2, 3] from output to input, as for ``F.affine_grid``.
        reach: rows and columns: how far apart, at most, output pixels are whose sources differ by
            one pixel in each direction.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, or their edges.
    """
    if torch.are_deterministic_algorithms_enabled():
        sampled: Tensor = _Sampling.apply(images, matrix, reach, align_corners)
        return sampled
    return _sample(images, matrix, align_corners)


class _Sampling(Function):
    """Linear in the images; the gradient is the adjoint, whose gradient is this again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        images: Tensor, matrix: Tensor, _reach: tuple[float, float], align_corners: bool
    ) -> Tensor:
        return _sample(images, matrix, align_corners)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401 - torch gives them
        _remember(ctx, inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401 - torch gives it
        (matrix,) = ctx.saved_tensors
        return _Adjoint.apply(gradient, matrix, ctx.reach, ctx.align_corners), None, None, None


class _Adjoint(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        gradient: Tensor, matrix: Tensor, reach: tuple[float, float], align_corners: bool
    ) -> Tensor:
        return _gathered(gradient, matrix, reach, align_corners)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401 - torch gives them
        _remember(ctx, inputs)

    @staticmethod
    def backward(ctx: Any, images: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401 - torch gives it
        (matrix,) = ctx.saved_tensors
        return _Sampling.apply(images, matrix, ctx.reach, ctx.align_corners), None, None, None


def _remember(ctx: Any, inputs: tuple[Any, ...]) -> None:  # noqa: ANN401 - torch's context
    _, matrix, ctx.reach, ctx.align_corners = inputs
    ctx.save_for_backward(matrix)


def _sample(images: Tensor, matrix: Tensor, align_corners: bool) -> Tensor:
    grid = F.affine_grid(matrix, list(images.shape), align_corners=align_corners)
    return F.grid_sample(images, grid, "bilinear", "zeros", align_corners=align_corners)


def _gathered(
    gradient: Tensor, matrix: Tensor, reach: tuple[float, float], align_corners: bool
) -> Tensor:
    """Return the gradient [N, C, H, W] of the images, given that of the sampled ones.

    A pixel p has a share ``(1 - |dr|)+ (1 - |dc|)+`` in each output pixel q, where (dr, dc) leads
    from p to the source of q. These q lie within ``reach`` of the position whose source is p.
    """
    height, width = gradient.shape[2:]
    there = _Map.of(matrix, height, width, align_corners)
    back = there.inverse()

    def counted(count: int) -> Tensor:
        return torch.arange(count, device=gradient.device, dtype=gradient.dtype)

    row, col = counted(height)[:, None], counted(width)  # [H, 1], [W]
    around = back(row, col)  # [N, 1, 1, H, W] each, as all that follows
    steps = [counted(math.ceil(2 * each)) for each in reach]
    rows, cols = (
        (position - each).floor() + 1 + step
        for position, each, step in zip(
            around, reach, (steps[0][:, None, None, None], steps[1][:, None, None]), strict=True
        )
    )  # [N, K, 1, H, W] and [N, 1, K, H, W]
    source_row, source_col = there(rows, cols)  # [N, K, K, H, W]
    shares = _hat(source_row - row) * _hat(source_col - col)
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    index = rows.clamp(0, height - 1).long() * width + cols.clamp(0, width - 1).long()
    channels = gradient.shape[1]
    chosen = gradient.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, channels, -1))
    weights = (shares * inside).flatten(1, 2)[:, None]  # [N, 1, K * K, H, W]
    terms: Tensor = chosen.unflatten(2, (-1, height, width)) * weights
    return terms.sum(dim=2)


def _hat(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp_min(0)


@dataclass(frozen=True, eq=False)
class _Map:
    """N affine maps of positions in pixels; each of their numbers is [N, 1, 1, 1, 1].

    ``row' = a row + b col + e`` and ``col' = c row + d col + f``.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor
    e: Tensor
    f: Tensor

    @classmethod
    def of(cls, matrix: Tensor, height: int, width: int, align_corners: bool) -> "_Map":
        """Return the maps ``matrix`` [N, 2, 3] of x and y in [-1, 1] in pixels."""
        middle_row, middle_col = (height - 1) / 2, (width - 1) / 2
        half_row = middle_row if align_corners else height / 2
        half_col = middle_col if align_corners else width / 2
        (d, c, x), (b, a, y) = (
            (row[:, None, None, None, None] for row in rows.unbind(1)) for rows in matrix.unbind(1)
        )
        b, c = b * (half_row / half_col), c * (half_col / half_row)
        e = middle_row + y * half_row - a * middle_row - b * middle_col
        f = middle_col + x * half_col - c * middle_row - d * middle_col
        return cls(a, b, c, d, e, f)

    def __call__(self, row: Tensor, col: Tensor) -> tuple[Tensor, Tensor]:
        return self.a * row + self.b * col + self.e, self.c * row + self.d * col + self.f

    def inverse(self) -> "_Map":
        """Return the maps back."""
        scale = 1 / (self.a * self.d - self.b * self.c)
        a, b, c, d = self.d * scale, -self.b * scale, -self.c * scale, self.a * scale
        return _Map(a, b, c, d, -(a * self.e + b * self.f), -(c * self.e + d * self.f))
