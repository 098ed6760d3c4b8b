"""MLP, LeNet, AlexNet and VGG as DC evaluates with them: convolutions, then linear layers.

The image sizes of the literature are 32x32, and 28x28 for gray images, whose first convolution has
a larger padding so that the later maps are as large (specification of other methods, section 0.1).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import TYPE_CHECKING, Final, Literal

from pdd_ray.core.errors import ConfigError
from pdd_ray.models.plan import (
    Convolution,
    NetworkPlan,
    Norm,
    Shape,
    map_values,
    norm_parameters,
    too_small,
)
from pdd_ray.models.spec import NetworkSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


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
CLASSIFIERS: Final = {"mlp": "fc_3", "lenet": "fc_3", "alexnet": "fc", "vgg": "classifier"}
"""Names of the last layer."""


class PlainSpec(NetworkSpec):
    """Networks that are one chain of convolutions and then linear layers."""

    @property
    def normalisation(self) -> Norm:
        """Normalisation after each convolution."""
        norm: Norm = getattr(self, "norm", "none")
        return norm

    def plan(self, shape: Shape) -> NetworkPlan:
        """Return the layers of the network for images of ``shape``.

        Raises:
            ConfigError: nothing is left of such images before the linear layers.
        """
        channels, *sides = shape
        links = _padded(LINKS[self.name], channels)
        smallest = next(side for side in count(1) if _walk(links, (channels, side, side))[1][1] > 0)
        if min(sides) < smallest:
            raise ConfigError(too_small(f"network '{self.label}'", shape, smallest))
        convolutions, last = _walk(links, shape)
        sizes = (math.prod(last), *HIDDEN[self.name])
        pooled = [item for item, link in zip(convolutions, links, strict=True) if link.pool]
        return NetworkPlan(
            tuple(convolutions),
            features=sizes[-1],
            norm_parameters=norm_parameters(self.normalisation, convolutions),
            hidden=tuple(pairwise(sizes)),
            poolings=len(pooled),
            pooled=sum(map(map_values, pooled)),
        )

    def build(self, shape: Shape, num_classes: int) -> nn.Sequential:
        """Return `features`, the hidden layers `fc_1`, `fc_2` with ReLU, and the classifier.

        Names and order of the parameters are those of DC's code; an MLP has no `features`.
        """
        from torch import nn

        from pdd_ray.models.layers import convolution_block

        plan = self.plan(shape)
        modules = OrderedDict[str, nn.Module]()
        features = [
            layer
            for item, link in zip(plan.convolutions, LINKS[self.name], strict=True)
            for layer in convolution_block(
                item, self.normalisation, "relu", "max" if link.pool else "none"
            )
        ]
        if features:
            modules["features"] = nn.Sequential(*features)
        modules["flatten"] = nn.Flatten()
        for number, sizes in enumerate(plan.hidden, 1):
            modules[f"fc_{number}"] = nn.Linear(*sizes)
            modules[f"relu_{number}"] = nn.ReLU()
        modules[CLASSIFIERS[self.name]] = nn.Linear(plan.features, num_classes)
        return nn.Sequential(modules)


class MlpSpec(PlainSpec):
    """DC's multilayer perceptron: two hidden layers of 128 units."""

    name: Literal["mlp"] = "mlp"
    """The architecture."""


class LeNetSpec(PlainSpec):
    """DC's LeNet: two convolutions with max-pooling, two hidden layers."""

    name: Literal["lenet"] = "lenet"
    """The architecture."""


class AlexNetSpec(PlainSpec):
    """DC's AlexNet for small images: five convolutions and a linear classifier."""

    name: Literal["alexnet"] = "alexnet"
    """The architecture."""
    norm: Literal["none", "instance", "batch"] = "none"
    """Normalisation after each convolution; DC's AlexNet has none, its AlexNetBN `batch`."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        return "alexnet" if self.norm == "none" else f"alexnet-{self.norm}"


class VggSpec(PlainSpec):
    """DC's VGG for small images: convolutions and a linear classifier without hidden layers."""

    name: Literal["vgg"] = "vgg"
    """The architecture."""
    depth: Literal[11] = 11
    """Layers by the count of its paper; here eight convolutions and the classifier."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation after each convolution; DC's VGG11 uses `instance`, its VGG11BN `batch`."""

    @property
    def label(self) -> str:
        """Short name for tables and folders."""
        return f"vgg{self.depth}-{self.norm}"


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
