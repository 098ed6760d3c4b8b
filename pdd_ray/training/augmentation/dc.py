"""The augmentation with which DC evaluates: one operation per image (Zhao et al. 2021).

Formulas and constants: specification of other methods, section 1.3, and the conformance vectors
of kind ``dc_augmentation``. What comes from outside of an image is the mean of the whole batch,
channel by channel (crop) or of all channels (rotate); scale leaves zero.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from pdd_ray.configuration.strategies import RULES
from pdd_ray.core.seeding import generator
from pdd_ray.training.augmentation.dsa import Draw, Values
from pdd_ray.training.augmentation.mixture import Mixture, reading

OPERATIONS = RULES["dc"]
MIXTURE = "mixture"
"""Name of a draw whose operation differs from image to image."""

CROP_PADDING = 4
SCALE_RANGE = 0.2
LARGEST_DEGREES = 45
NOISE_DEVIATION = 0.001


def draw(strategy: str, batch_size: int, source: torch.Generator) -> Draw:
    """Draw an operation of ``strategy`` for every image, and its numbers.

    Args:
        strategy: operations joined by ``_``.
        batch_size: N; 1 for an operation and numbers that all images share.
        source: a CPU generator, the only source of randomness.

    Returns:
        A draw named :data:`MIXTURE`. Its values, each [N]: ``operation``, a position in
        :data:`OPERATIONS`; and of each operation of the strategy ``start_rows`` and ``start_cols``
        of the crop, 0 .. 7; ``factor_rows`` and ``factor_cols`` in [0.8, 1.2); whole ``degrees``,
        -45 .. 44; ``noise_seed``, of the stream that the noise comes from.
    """
    names = strategy.split("_")
    positions = torch.tensor([OPERATIONS.index(name) for name in names])
    values = {"operation": positions[torch.randint(len(names), (batch_size,), generator=source)]}
    for name in OPERATIONS:
        if name in names:
            values.update(_DRAWS[name](batch_size, source))
    return Draw(MIXTURE, values)


def apply(images: Tensor, values: Values) -> Tensor:
    """Return ``images`` [N, C, H, W] after the operation that :func:`draw` gave to each.

    Differentiable in the images; the means are those of the images before any change.
    """
    return mixture_of(values, images.shape, images.dtype).to(images.device).apply(images)


def mixture_of(values: Values, shape: Sequence[int], dtype: torch.dtype) -> Mixture:
    """Return what the operations of a batch come down to, on the CPU.

    Args:
        values: What :func:`draw` gave, on the CPU.
        shape: (N, C, H, W) of the images.
        dtype: Of the images.
    """
    count, channels, height, width = shape
    own = {name: value.expand(count) for name, value in values.items()}
    chosen = {
        name: (own["operation"] == position).nonzero().flatten()
        for position, name in enumerate(OPERATIONS)
    }
    rows, cols = (torch.arange(size).repeat(count, 1) for size in (height, width))
    if len(cropped := chosen["crop"]):
        rows[cropped] += own["start_rows"][cropped, None] - CROP_PADDING
        cols[cropped] += own["start_cols"][cropped, None] - CROP_PADDING
    if len(scaled := chosen["scale"]):
        factors = (own["factor_rows"][scaled], own["factor_cols"][scaled])
        rows[scaled], cols[scaled] = _scaled(*factors, height, width)
    noisy = chosen["noise"]
    noise = torch.empty(0, channels, height, width, dtype=dtype)
    if len(noisy):
        normal = normal_noise(own["noise_seed"][noisy], channels, height, width)
        noise = NOISE_DEVIATION * normal.to(dtype)
    turned = chosen["rotate"]
    return Mixture(
        reading=reading(rows, cols, height, width) if len(cropped) or len(scaled) else None,
        around=(own["operation"] == OPERATIONS.index("crop")).to(dtype)[:, None, None],
        turned=turned,
        degrees=own["degrees"][turned] if len(turned) else turned,
        noisy=noisy,
        noise=noise,
    )


def normal_noise(seeds: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Return the standard normal values of ``seeds`` [N], float32 [N, C, H, W] on the CPU."""
    return torch.stack(
        [
            torch.randn(channels, height, width, generator=generator(seed, "noise"))
            for seed in seeds.tolist()
        ]
    )


def _scaled(
    factor_rows: Tensor, factor_cols: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Return the rows [N, H] and columns [N, W] that are read, -1 outside of the image.

    Images are resized to the nearest pixels and centred. Each axis by its own factor of its own
    size (DC takes both times H; its images are square).
    """
    rows, cols = _resized(factor_rows, height), _resized(factor_cols, width)
    canvas = torch.maximum(rows, cols).clamp_min(max(height, width))
    return _scale_source(rows, canvas, height), _scale_source(cols, canvas, width)


def _resized(factor: Tensor, size: int) -> Tensor:
    """Return the whole sizes [N] after scaling, 1 at least."""
    return (factor.double() * size).long().clamp_min(1)


def _scale_source(resized: Tensor, canvas: Tensor, size: int) -> Tensor:
    """Return the positions [N, size] in the image that was resized, -1 outside of it."""
    shift = (canvas - size) // 2 - (canvas - resized) // 2
    position = torch.arange(size) + shift[:, None]
    length = resized[:, None]
    inside = (position >= 0) & (position < length)
    return torch.where(inside, position * size // length, -1)


def _draw_crop(count: int, source: torch.Generator) -> Values:
    return {
        name: torch.randint(2 * CROP_PADDING, (count,), generator=source)
        for name in ("start_rows", "start_cols")
    }


def _draw_scale(count: int, source: torch.Generator) -> Values:
    return {
        name: 1 - SCALE_RANGE + 2 * SCALE_RANGE * _uniform(count, source)
        for name in ("factor_rows", "factor_cols")
    }


def _draw_rotate(count: int, source: torch.Generator) -> Values:
    low, high = -LARGEST_DEGREES, LARGEST_DEGREES
    return {"degrees": torch.randint(low, high, (count,), generator=source)}


def _draw_noise(count: int, source: torch.Generator) -> Values:
    return {"noise_seed": torch.randint(2**62, (count,), generator=source)}


def _uniform(count: int, source: torch.Generator) -> Tensor:
    return torch.rand(count, generator=source, dtype=torch.float64)


_DRAWS: Final[Mapping[str, Callable[[int, torch.Generator], Values]]] = {
    "crop": _draw_crop,
    "scale": _draw_scale,
    "rotate": _draw_rotate,
    "noise": _draw_noise,
}
