"""IDC's DenseNet-BC for small images (Huang et al. 2017, with growth 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pdd_ray.core.errors import ConfigError
from pdd_ray.models.plan import Convolution, NetworkPlan, Shape, map_values, too_small
from pdd_ray.models.spec import NetworkSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

GROWTH: Final = 12
"""Channels that each dense layer adds; the first convolution gives twice as many."""
BOTTLENECK: Final = 4 * GROWTH
"""Channels between the two convolutions of a dense layer."""
DENSE_LAYERS: Final = (6, 12, 24, 16)
"""Dense layers per block; a transition that halves channels and map stands between two blocks."""


class DenseNetSpec(NetworkSpec):
    """IDC's DenseNet-BC for small images: growth 12, 6, 12, 24 and 16 layers, batch norm."""

    name: Literal["densenet"] = "densenet"
    """The architecture."""

    code: ClassVar[str] = "pdd_ray.models.densenet:build_densenet"

    @property
    def has_batch_norm(self) -> bool:
        """Whether what the network says of an image depends on the others of its batch."""
        return True

    def plan(self, shape: Shape) -> NetworkPlan:
        """Return the layers of the DenseNet for images of ``shape``.

        Raises:
            ConfigError: nothing is left of such images.
        """
        smallest = 2 ** (len(DENSE_LAYERS) - 1)
        if min(shape[1:]) < smallest:
            raise ConfigError(too_small("a DenseNet", shape, smallest))
        convolutions = tuple(_convolutions(shape))
        transitions = [
            item for item in convolutions if item.kernel == 1 and item.channels_out != BOTTLENECK
        ]
        features = convolutions[-2].channels_in + GROWTH
        # a norm stands before each convolution but the first, and after the last dense block
        normalised = sum(item.channels_in for item in convolutions[1:]) + features
        last = convolutions[-1]
        values = sum(item.channels_in * item.height * item.width for item in convolutions[1:])
        return NetworkPlan(
            convolutions,
            features,
            norm_parameters=2 * normalised,
            poolings=len(DENSE_LAYERS),
            pooled=sum(map(map_values, transitions)) + features * last.height * last.width,
            normalised=values + features * last.height * last.width,
        )


def _convolutions(shape: Shape) -> Iterator[Convolution]:
    channels, height, width = shape
    yield Convolution(channels, 2 * GROWTH, 3, 1, 1, height, width, bias=False)
    channels = 2 * GROWTH
    for block, layers in enumerate(DENSE_LAYERS):
        if block > 0:
            yield Convolution(channels, channels // 2, 1, 1, 0, height, width, bias=False)
            channels, height, width = channels // 2, height // 2, width // 2
        for _ in range(layers):
            yield Convolution(channels, BOTTLENECK, 1, 1, 0, height, width, bias=False)
            yield Convolution(BOTTLENECK, GROWTH, 3, 1, 1, height, width, bias=False)
            channels += GROWTH
