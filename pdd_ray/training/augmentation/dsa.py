"""Differentiable siamese augmentation, DSA (Zhao and Bilen 2021), as trajectory matching uses it.

Letters: N images of C channels, H rows and W columns. Constants and formulas: specification,
section 3. Nothing is clamped, because images are normalised or whitened values, and what comes
from outside an image is zero.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pdd_ray.configuration.strategies import check_rule_strategy
from pdd_ray.training.augmentation.affine import affine_sample
from pdd_ray.training.augmentation.sampling import pixels_at

BRIGHTNESS_RANGE = 1.0
SATURATION_RANGE = 2.0
CONTRAST_OFFSET = 0.5
CROP_FRACTION = 0.125
CUTOUT_FRACTION = 0.5
FLIP_PROBABILITY = 0.5
LARGEST_SCALE = 1.2
LARGEST_ANGLE = math.radians(15.0)

Values = Mapping[str, Tensor]
"""Random numbers of one operation by name, each [N], or [1] for numbers that all images share."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One operation and its random numbers.

    ``values`` holds one number per image under each of the operation's names, or a single one that
    images of a batch of any size share (siamese mode): ``u_...`` uniform in [0, 1), ``shift_...``
    and ``offset_...`` whole pixels.
    """

    operation: str
    values: Values


def draw(
    strategy: str, batch_size: int, height: int, width: int, generator: torch.Generator
) -> Draw | None:
    """Draw one operation of ``strategy`` for a whole batch, and its numbers for every image.

    This is mode S, the one that trajectory matching uses.

    Args:
        strategy: operations joined by ``_``, or ``none``.
        batch_size: N; 1 for numbers that all images share.
        height: H.
        width: W.
        generator: a CPU generator, the only source of randomness.

    Returns:
        The draw, on the CPU; None for strategy ``none``.

    Raises:
        ValueError: the strategy names an unknown operation.
    """
    if check_rule_strategy("dsa", strategy) == "none":
        return None
    names = strategy.split("_")
    operation = names[int(torch.randint(len(names), (), generator=generator))]
    return draw_operation(operation, batch_size, height, width, generator)


def draw_operation(
    operation: str, batch_size: int, height: int, width: int, generator: torch.Generator
) -> Draw:
    """Draw the numbers of ``operation``; arguments as in :func:`draw`."""
    return Draw(operation, _DRAWS[operation](batch_size, height, width, generator))


def apply(images: Tensor, draw: Draw | None, *, align_corners: bool = True) -> Tensor:
    """Return ``images`` [N, C, H, W] after the operation ``draw``; differentiable in the images.

    Args:
        images: floating point; the numbers of the draw are taken to their dtype and device.
        draw: as many numbers as images, or one for all; None returns the images themselves.
        align_corners: sampling convention of scale and rotate. True in MTT and PDD; it matters
            for rotations of images that are not square only.
    """
    if draw is None:
        return images
    values = {name: _like(images, value).expand(len(images)) for name, value in draw.values.items()}
    if draw.operation in _MATRICES:
        matrix, reach = _MATRICES[draw.operation](values), _reach(images, align_corners)
        return affine_sample(images, matrix, reach, align_corners=align_corners)
    return _OPERATIONS[draw.operation](images, values)


def brightness(images: Tensor, values: Values) -> Tensor:
    """Add ``u - 0.5`` to all pixels."""
    return images + (_per_image(values["u_brightness"]) - 0.5) * BRIGHTNESS_RANGE


def saturation(images: Tensor, values: Values) -> Tensor:
    """Stretch each pixel's distance from its mean over channels by ``2 u``."""
    mean = images.mean(dim=1, keepdim=True)
    return (images - mean) * (_per_image(values["u_saturation"]) * SATURATION_RANGE) + mean


def contrast(images: Tensor, values: Values) -> Tensor:
    """Stretch each pixel's distance from the image's mean by ``u + 0.5``."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (_per_image(values["u_contrast"]) + CONTRAST_OFFSET) + mean


def color(images: Tensor, values: Values) -> Tensor:
    """Change brightness, then saturation, then contrast."""
    return contrast(saturation(brightness(images, values), values), values)


def crop(images: Tensor, values: Values) -> Tensor:
    """Return ``out[r, c] = in[r + shift_rows, c + shift_cols]``, zero where that is outside."""
    rows = _shifted(values["shift_rows"], images.shape[2])
    cols = _shifted(values["shift_cols"], images.shape[3])
    moved, inside = pixels_at(images, rows, cols)
    return moved * inside


def cutout(images: Tensor, values: Values) -> Tensor:
    """Set a window of about half the height and width to zero.

    It starts at ``offset - size // 2``; what lies outside is clamped to the border, so that a
    window over the border still clears the border line.
    """
    rows = _window(values["offset_rows"], images.shape[2])
    cols = _window(values["offset_cols"], images.shape[3])
    return images * ~(rows[:, None, :, None] & cols[:, None, None, :])


def flip(images: Tensor, values: Values) -> Tensor:
    """Mirror the images with ``u < 0.5`` from left to right."""
    mirrored = _per_image(values["u_flip"] < FLIP_PROBABILITY)
    return torch.where(mirrored, images.flip(-1), images)


def scale_matrix(values: Values) -> Tensor:
    """Return the maps [N, 2, 3] from output to input that scale columns and rows apart.

    Both factors are uniform on [1 / 1.2, 1.2]; below 1 they enlarge.
    """
    smallest = 1 / LARGEST_SCALE
    factors = [values[name] * (LARGEST_SCALE - smallest) + smallest for name in ("u_sx", "u_sy")]
    zero = torch.zeros_like(factors[0])
    return _matrix(((factors[0], zero), (zero, factors[1])))


def rotation_matrix(values: Values) -> Tensor:
    """Return the maps [N, 2, 3] from output to input that rotate by up to 15 degrees."""
    angle = (values["u_angle"] - 0.5) * 2 * LARGEST_ANGLE
    cosine, sine = angle.cos(), angle.sin()
    return _matrix(((cosine, -sine), (sine, cosine)))


def _matrix(rows: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    zero = torch.zeros_like(rows[0][0])
    return torch.stack([torch.stack([*row, zero], dim=1) for row in rows], dim=1)


def _reach(images: Tensor, align_corners: bool) -> tuple[float, float]:
    """Return how far apart output pixels of these maps are, at most, in rows and columns."""
    height, width = (side - 1 if align_corners else side for side in images.shape[2:])
    turned = math.sin(LARGEST_ANGLE)
    return (
        max(LARGEST_SCALE, 1 + turned * height / width),
        max(LARGEST_SCALE, 1 + turned * width / height),
    )


def _like(images: Tensor, value: Tensor) -> Tensor:
    dtype = images.dtype if value.is_floating_point() else value.dtype
    return value.to(images.device, dtype)


def _per_image(value: Tensor) -> Tensor:
    return value.view(-1, 1, 1, 1)


def _shifted(shift: Tensor, size: int) -> Tensor:
    """Return the source positions [N, size], some of them outside."""
    return torch.arange(size, device=shift.device) + shift[:, None]


def _window(offset: Tensor, size: int) -> Tensor:
    """Return which of ``size`` positions the windows around ``offset`` [N] cover, [N, size]."""
    length = _part(CUTOUT_FRACTION, size)
    first = (offset - length // 2)[:, None]
    position = torch.arange(size, device=offset.device)
    last = (first + length - 1).clamp(0, size - 1)
    return (position >= first.clamp(0, size - 1)) & (position <= last)


def _part(fraction: float, size: int) -> int:
    return int(fraction * size + 0.5)


def _uniform(*names: str) -> Callable[[int, int, int, torch.Generator], Values]:
    def values(count: int, _height: int, _width: int, generator: torch.Generator) -> Values:
        return {name: torch.rand(count, generator=generator, dtype=torch.float32) for name in names}

    return values


def _draw_crop(count: int, height: int, width: int, generator: torch.Generator) -> Values:
    values = {}
    for name, size in (("shift_rows", height), ("shift_cols", width)):
        largest = _part(CROP_FRACTION, size)
        values[name] = torch.randint(-largest, largest + 1, (count,), generator=generator)
    return values


def _draw_cutout(count: int, height: int, width: int, generator: torch.Generator) -> Values:
    values = {}
    for name, size in (("offset_rows", height), ("offset_cols", width)):
        end = size + 1 - _part(CUTOUT_FRACTION, size) % 2
        values[name] = torch.randint(end, (count,), generator=generator)
    return values


_DRAWS: Final[Mapping[str, Callable[[int, int, int, torch.Generator], Values]]] = {
    "color": _uniform("u_brightness", "u_saturation", "u_contrast"),
    "crop": _draw_crop,
    "cutout": _draw_cutout,
    "flip": _uniform("u_flip"),
    "scale": _uniform("u_sx", "u_sy"),
    "rotate": _uniform("u_angle"),
}

_OPERATIONS: Final[Mapping[str, Callable[[Tensor, Values], Tensor]]] = {
    "brightness": brightness,
    "saturation": saturation,
    "contrast": contrast,
    "color": color,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
}

_MATRICES: Final[Mapping[str, Callable[[Values], Tensor]]] = {
    "scale": scale_matrix,
    "rotate": rotation_matrix,
}
