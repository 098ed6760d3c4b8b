"""NetworkPlan: the layers and feature maps of a network, known without torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Norm = Literal["instance", "batch", "layer", "group", "none"]
"""Normalisation after a convolution."""

GROUPS: Final = 4
"""Groups of norm `group` (DC's ConvNet variants, Zhao et al. 2021, supplementary)."""

Shape = tuple[int, int, int]
"""Channels, height, width of an image."""


@dataclass(frozen=True)
class Convolution:
    """One convolution; ``height`` and ``width`` are those of its output map."""

    channels_in: int
    channels_out: int
    kernel: int
    stride: int
    padding: int
    height: int
    width: int
    bias: bool


@dataclass(frozen=True)
class NetworkPlan:
    """The layers that have parameters.

    Attributes:
        convolutions: in order of execution.
        features: number of inputs of the classifier.
        norm_parameters: number of scales and shifts of all normalisations.
        hidden: inputs and outputs of the linear layers between convolutions and classifier.
        poolings: number of poolings; for estimates of time, as what follows.
        pooled: number of values of an image that they read.
        normalised: number of values of an image that normalisations write; if there are any, those
            of the convolutions' outputs if not given.
    """

    convolutions: tuple[Convolution, ...]
    features: int
    norm_parameters: int
    hidden: tuple[tuple[int, int], ...] = ()
    poolings: int = 0
    pooled: int = 0
    normalised: int | None = None


def norm_parameters(norm: Norm, convolutions: Iterable[Convolution]) -> int:
    """Return the scales and shifts of one normalisation after each of ``convolutions``."""
    if norm == "none":
        return 0
    if norm == "layer":
        return sum(2 * item.channels_out * item.height * item.width for item in convolutions)
    return sum(2 * item.channels_out for item in convolutions)


def map_values(item: Convolution) -> int:
    """Return the values of the output map of ``item``."""
    return item.channels_out * item.height * item.width


def too_small(network: str, shape: Shape, side: int) -> str:
    """Return the message that images of ``shape`` are below ``side`` pixels for ``network``."""
    return (
        f"images of shape {shape} are too small for {network}, which needs at least {side} pixels "
        "a side; use larger images or a ConvNet"
    )
