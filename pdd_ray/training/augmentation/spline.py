"""Rotation of images with cubic spline interpolation.

Interpolating cubic B-splines with mirrored borders (Unser 1999), by the conventions of
``scipy.ndimage.rotate`` with ``order=3``, which DC uses; here it is differentiable.

A pixel of a rotated image is the sum of 16 coefficients with weights. Which ones and which weights
depends on the angle and on the size of the images alone, and DC draws whole degrees: so for images
that are not large they are computed once, for all angles (:class:`Turns`).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

LOWEST, HIGHEST = -45, 45
"""Degrees of the tables: from the lowest to below the highest; 0 is among them."""
TABLE_BYTES = 2**27
"""Larger images, from 88x88 pixels on, are rotated tap by tap."""
TAPS = 16
ROW = 64
"""Tables have a multiple of so many pixels, so that torch adds up all of them in the same order."""


@dataclass(frozen=True, eq=False)
class Turns:
    """How pixels of H x W images come out of the coefficients of their splines, angle by angle.

    The angles are 0, 1, .., 44, -45, .., -1 degrees: a negative one is an index from the end.

    Attributes:
        sources: Coefficients of each tap of each of P >= H * W pixels, in the flattened image,
            int64 [angles, 16 * P]; H * W, the value around the image, where a pixel is outside.
        weights: Of the taps, [angles, 16, P]; outside 1, 0, 0, ...
    """

    sources: Tensor
    weights: Tensor


def turned_by(images: Tensor, degrees: Tensor, outside: Tensor) -> Tensor:
    """Return ``images`` [N, C, H, W] rotated by whole ``degrees``, -45 .. 44, int64 [N].

    Gives what :func:`rotate_about_centre` gives; ``outside`` is as there.
    """
    count, channels, height, width = images.shape
    angles = HIGHEST - LOWEST
    if angles * TAPS * height * width * (8 + images.element_size()) > TABLE_BYTES:
        return rotate_about_centre(images, degrees, outside)
    turns = _all_turns(height, width, images.dtype, str(images.device))
    coefficients = _coefficients(images).reshape(count, channels, -1)
    with_outside = torch.cat([coefficients, outside.expand(count, channels, 1)], dim=2)
    sources = turns.sources[degrees][:, None].expand(-1, channels, -1)
    taps = with_outside.gather(2, sources).unflatten(2, (TAPS, -1))
    sums = (taps * turns.weights[degrees][:, None]).sum(dim=2)
    rotated: Tensor = sums[:, :, : height * width].unflatten(2, (height, width))
    return rotated


@lru_cache(maxsize=4)
def _all_turns(height: int, width: int, dtype: torch.dtype, device: str) -> Turns:
    """Return the turns of all angles; computed on the CPU for every device."""
    degrees = torch.cat([torch.arange(HIGHEST), torch.arange(LOWEST, 0)])
    rows, cols = _sources(degrees, height, width)
    rows, cols = (F.pad(value.flatten(1), (0, -height * width % ROW)) for value in (rows, cols))
    inside = _inside(rows, cols, height, width)
    sources: list[Tensor] = []
    weights: list[Tensor] = []
    for row, row_weight in _taps(rows, height):
        for col, col_weight in _taps(cols, width):
            sources.append(torch.where(inside, row * width + col, height * width))
            around = 0.0 if weights else 1.0
            weights.append((row_weight * col_weight).to(dtype).where(inside, around))
    return Turns(
        torch.stack(sources, dim=1).flatten(1).to(device), torch.stack(weights, dim=1).to(device)
    )


def rotate_about_centre(images: Tensor, degrees: Tensor, outside: Tensor) -> Tensor:
    """Return ``images`` [N, C, H, W] rotated in the plane of rows and columns.

    The rotated image is put on a canvas of the whole size that is nearest to its own, of which the
    central H x W pixels are returned.

    Args:
        images: floating point.
        degrees: angles [N].
        outside: value [] of pixels whose source is outside.
    """
    height, width = images.shape[2:]
    rows, cols = _sources(degrees.to(images.device), height, width)
    inside = _inside(rows, cols, height, width)
    sampled = _sample(_coefficients(images), rows, cols)
    return torch.where(inside[:, None], sampled, outside)


def _sources(degrees: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the row and the column, each float64 [N, H, W], that each pixel comes from."""
    angle = torch.deg2rad(degrees.to(torch.float64))[:, None]
    cosine, sine = angle.cos(), angle.sin()
    row = _from_centre(height, cosine.abs() * height + sine.abs() * width)[:, :, None]
    col = _from_centre(width, sine.abs() * height + cosine.abs() * width)[:, None, :]
    cosine, sine = cosine[:, :, None], sine[:, :, None]
    rows = cosine * row + sine * col + (height - 1) / 2
    cols = cosine * col - sine * row + (width - 1) / 2
    return rows, cols


def _from_centre(size: int, extent: Tensor) -> Tensor:
    """Return the distances [N, size] of an image's pixels from the centre of the canvas.

    ``extent`` [N, 1] is what the rotated image takes of the canvas.
    """
    canvas = (extent + 0.5).floor()
    first = ((canvas - size) / 2).trunc()
    position = torch.arange(size, dtype=torch.float64, device=extent.device)
    return position + first - (canvas - 1) / 2


def _inside(rows: Tensor, cols: Tensor, height: int, width: int) -> Tensor:
    return (rows >= 0) & (rows <= height - 1) & (cols >= 0) & (cols <= width - 1)


def _coefficients(images: Tensor) -> Tensor:
    """Return the coefficients [N, C, H, W] of the splines that go through all pixels."""
    rows, cols = (
        _interpolation(size, images.dtype, str(images.device)) for size in images.shape[2:]
    )
    return rows @ images @ cols.T


@lru_cache(maxsize=8)
def _interpolation(size: int, dtype: torch.dtype, device: str) -> Tensor:
    """Return the coefficients [size, size] of the splines through the unit vectors."""
    return _collocation(size).inverse().to(device, dtype)


def _collocation(size: int) -> Tensor:
    """Return the values of ``size`` B-splines at ``size`` positions, float64 [size, size]."""
    position = torch.arange(size)
    values = torch.zeros(size, size, dtype=torch.float64)
    for step, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
        values[position, _mirrored(position + step, size)] += weight
    return values


def _sample(coefficients: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    channels, height, width = coefficients.shape[1:]
    flat = coefficients.flatten(2)
    result = torch.zeros_like(flat)
    for row, row_weight in _taps(rows.flatten(1), height):
        for col, col_weight in _taps(cols.flatten(1), width):
            source = (row * width + col)[:, None].expand(-1, channels, -1)
            weight = (row_weight * col_weight).to(flat)[:, None]
            result = result + weight * flat.gather(2, source)
    return result.view_as(coefficients)


def _taps(position: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Return the four B-splines at ``position``: which they are, and their values there."""
    first = position.floor()
    t = position - first
    values = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    start = first.long() - 1
    return [(_mirrored(start + step, size), value) for step, value in enumerate(values)]


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Return the positions inside that ``index`` falls on if the ends are mirrors."""
    period = max(1, 2 * (size - 1))
    index = index % period
    return torch.minimum(index, period - index)
