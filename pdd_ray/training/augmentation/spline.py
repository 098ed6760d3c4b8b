"""Rotation of images with cubic spline interpolation.

Interpolating cubic B-splines with mirrored borders (Unser 1999), by the conventions of
``scipy.ndimage.rotate`` with ``order=3``, which DC uses; here it is differentiable.
"""

import torch
from torch import Tensor


def rotate_about_centre(images: Tensor, degrees: Tensor, outside: Tensor) -> Tensor:
    """Return ``images`` [N, C, H, W] rotated in the plane of rows and columns.

    The rotated image is put on a canvas of the whole size that is nearest to its own, of which the
    central H x W pixels are returned.

    Args:
        images: floating point.
        degrees: angles [N].
        outside: value [] of pixels whose source is outside.
    """
    rows, cols = _sources(images, degrees)
    height, width = images.shape[2:]
    inside = (rows >= 0) & (rows <= height - 1) & (cols >= 0) & (cols <= width - 1)
    sampled = _sample(_coefficients(images), rows, cols)
    return torch.where(inside[:, None], sampled, outside)


def _sources(images: Tensor, degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row and the column, each float64 [N, H, W], that each pixel comes from."""
    height, width = images.shape[2:]
    angle = torch.deg2rad(degrees.to(images.device, torch.float64))[:, None]
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


def _coefficients(images: Tensor) -> Tensor:
    """Return the coefficients [N, C, H, W] of the splines that go through all pixels."""
    rows, cols = (_collocation(size).inverse().to(images) for size in images.shape[2:])
    return rows @ images @ cols.T


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
