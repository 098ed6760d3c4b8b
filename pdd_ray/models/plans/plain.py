"""The layers of MLP, LeNet, AlexNet and VGG in the sizes that DC evaluates with.

The image sizes of the literature are 32x32, and 28x28 for gray images, whose first convolution has
a larger padding so that the later maps are as large (specification of other methods, section 0.1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Final

from pdd_ray.configuration.model import LeNetSpec, MlpSpec, Norm, PlainSpec
from pdd_ray.core.errors import ConfigError
from pdd_ray.models.plans.parts import (
    Convolution,
    NetworkPlan,
    Shape,
    norm_parameters,
    too_small,
)


@dataclass(frozen=True)
class Link:
    """A convolution of stride 1, then normalisation, ReLU and perhaps 2x2 max-pooling."""

    channels: int
    kernel: int
    padding: int
    pool: bool = False


LENET: Final = (Link(6, 5, 0, pool=True), Link(16, 5, 0, pool=True))
ALEXNET: Final = (
    Link(128, 5, 2, pool=True),
    Link(192, 5, 2, pool=True),
    Link(256, 3, 1),
    Link(192, 3, 1),
    Link(192, 3, 1, pool=True),
)
VGG11: Final = (
    Link(64, 3, 1, pool=True),
    Link(128, 3, 1, pool=True),
    Link(256, 3, 1),
    Link(256, 3, 1, pool=True),
    Link(512, 3, 1),
    Link(512, 3, 1, pool=True),
    Link(512, 3, 1),
    Link(512, 3, 1, pool=True),
)
LINKS: Final[dict[str, tuple[Link, ...]]] = {
    "mlp": (),
    "lenet": LENET,
    "alexnet": ALEXNET,
    "vgg": VGG11,
}
"""Convolutions by architecture, for RGB images."""
GRAY_PADDING: Final = 2
"""Added to the padding of the first convolution for images of one channel."""
HIDDEN: Final[dict[str, tuple[int, ...]]] = {
    "mlp": (128, 128),
    "lenet": (120, 84),
    "alexnet": (),
    "vgg": (),
}
"""Outputs of the hidden linear layers by architecture."""


def plan_plain(spec: PlainSpec, shape: Shape) -> NetworkPlan:
    """Return the layers of the network ``spec`` for images of ``shape``.

    Raises:
        ConfigError: nothing is left of such images before the linear layers.
    """
    channels, *sides = shape
    links = _padded(LINKS[spec.name], channels)
    smallest = next(side for side in count(1) if _walk(links, (channels, side, side))[1][1] > 0)
    if min(sides) < smallest:
        raise ConfigError(too_small(f"network '{spec.label}'", shape, smallest))
    convolutions, last = _walk(links, shape)
    sizes = (math.prod(last), *HIDDEN[spec.name])
    return NetworkPlan(
        tuple(convolutions),
        features=sizes[-1],
        norm_parameters=norm_parameters(norm_of(spec), convolutions),
        hidden=tuple(pairwise(sizes)),
    )


def norm_of(spec: PlainSpec) -> Norm:
    """Return the normalisation after each convolution of the network ``spec``."""
    return "none" if isinstance(spec, MlpSpec | LeNetSpec) else spec.norm


def _padded(links: tuple[Link, ...], channels: int) -> tuple[Link, ...]:
    """Return ``links`` for images of ``channels`` channels."""
    if channels != 1 or not links:
        return links
    return (replace(links[0], padding=links[0].padding + GRAY_PADDING), *links[1:])


def _walk(links: Sequence[Link], shape: Shape) -> tuple[list[Convolution], Shape]:
    """Return the convolutions and the shape of the last map, which may have no pixels."""
    channels, height, width = shape
    convolutions = []
    for link in links:
        growth = 2 * link.padding - link.kernel + 1
        height, width = height + growth, width + growth
        convolutions.append(
            Convolution(
                channels, link.channels, link.kernel, 1, link.padding, height, width, bias=True
            )
        )
        channels = link.channels
        if link.pool:
            height, width = height // 2, width // 2
    return convolutions, (channels, height, width)
