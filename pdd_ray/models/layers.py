"""Convolutions, normalisations, activations and poolings from a plan and a configuration."""

from collections.abc import Callable
from typing import Final

from torch import nn

from pdd_ray.models.average_pooling import AveragePool
from pdd_ray.models.instance_norm import InstanceNorm
from pdd_ray.models.plan import GROUPS, Convolution, Norm

NormFactory = Callable[[int, int, int], nn.Module]

NORMS: Final[dict[Norm, NormFactory]] = {
    "instance": lambda channels, _height, _width: InstanceNorm(channels),
    "batch": lambda channels, _height, _width: nn.BatchNorm2d(channels),
    "layer": lambda channels, height, width: nn.LayerNorm([channels, height, width]),
    "group": lambda channels, _height, _width: nn.GroupNorm(GROUPS, channels),
}
"""Normalisation of a map of [channels, height, width]; affine, eps 1e-5, momentum 0.1."""

ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "swish": nn.SiLU,
}
"""Non-linearities; none works in place, because double backward needs their inputs."""

POOLINGS: Final[dict[str, Callable[[], nn.Module]]] = {
    "average": AveragePool,
    "max": lambda: nn.MaxPool2d(2, 2),
}
"""2x2 poolings with stride 2; `none` is left out."""


def convolution_block(
    item: Convolution, norm: Norm, activation: str, pooling: str
) -> list[nn.Module]:
    """Return a convolution, its normalisation, activation and pooling; what is `none` is left out.

    Args:
        item: the convolution.
        norm: normalisation of its output.
        activation: a name in `ACTIVATIONS`.
        pooling: a name in `POOLINGS`, or `none`.
    """
    block: list[nn.Module] = [
        nn.Conv2d(item.channels_in, item.channels_out, item.kernel, padding=item.padding)
    ]
    if norm != "none":
        block.append(NORMS[norm](item.channels_out, item.height, item.width))
    block.append(ACTIVATIONS[activation]())
    if pooling != "none":
        block.append(POOLINGS[pooling]())
    return block
