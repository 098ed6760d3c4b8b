"""Normalisations, activations and poolings by their names in a configuration."""

from collections.abc import Callable
from typing import Final

from torch import nn

from pdd_ray.models.plan import GROUPS
from pdd_ray.specs.model import Norm

NormFactory = Callable[[int, int, int], nn.Module]

NORMS: Final[dict[Norm, NormFactory]] = {
    "instance": lambda channels, _height, _width: nn.GroupNorm(channels, channels),
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
    "average": lambda: nn.AvgPool2d(2, 2),
    "max": lambda: nn.MaxPool2d(2, 2),
}
"""2x2 poolings with stride 2; `none` is left out."""
