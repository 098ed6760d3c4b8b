"""NetworkSize: what the cost of a pass through a network depends on, known without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from pdd_ray.models.cost import parameter_count, weights

if TYPE_CHECKING:
    from pdd_ray.models.plan import Convolution, Shape
    from pdd_ray.models.registry import ModelSpec


@dataclass(frozen=True)
class NetworkSize:
    """Layers, arithmetic and values of a network; values and arithmetic are those of one image.

    Attributes:
        convolutions: Convolutions.
        linears: Linear layers, the classifier among them.
        norms: Normalisations of each image by itself.
        batch_norms: Normalisations over a batch.
        poolings: Poolings.
        first: Floating-point operations of the first layer, whose input needs no gradient.
        rest: Those of all other convolutions and linear layers.
        maps: Values that convolutions write.
        inputs: Values that convolutions read.
        normalised: Values that norms of single images write.
        batch_normalised: Values that norms over a batch write.
        pooled: Values that poolings read.
        image: Values of an image.
        features: Inputs of the classifier.
        parameters: Parameters.
    """

    convolutions: int
    linears: int
    norms: int
    batch_norms: int
    poolings: int
    first: float
    rest: float
    maps: float
    inputs: float
    normalised: float
    batch_normalised: float
    pooled: float
    image: float
    features: float
    parameters: float


@lru_cache(maxsize=1024)
def network_size(spec: ModelSpec, shape: Shape, num_classes: int) -> NetworkSize:
    """Return the size of the network ``spec`` for images of ``shape``.

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    plan = spec.plan(shape)
    linears = [*plan.hidden, (plan.features, num_classes)]
    layers = [_arithmetic(item) for item in plan.convolutions]
    layers += [2.0 * inputs * outputs for inputs, outputs in linears]
    maps = sum(item.channels_out * item.height * item.width for item in plan.convolutions)
    normalised = 0.0
    if plan.norm_parameters:
        normalised = maps if plan.normalised is None else plan.normalised
    batch = spec.has_batch_norm
    norms = len(plan.convolutions) if normalised else 0
    return NetworkSize(
        convolutions=len(plan.convolutions),
        linears=len(linears),
        norms=0 if batch else norms,
        batch_norms=norms if batch else 0,
        poolings=plan.poolings,
        first=layers[0],
        rest=sum(layers[1:]),
        maps=maps + sum(outputs for _, outputs in plan.hidden),
        inputs=sum(map(_inputs, plan.convolutions)),
        normalised=0.0 if batch else normalised,
        batch_normalised=normalised if batch else 0.0,
        pooled=plan.pooled,
        image=math.prod(shape),
        features=plan.features,
        parameters=parameter_count(spec, shape, num_classes),
    )


def _arithmetic(layer: Convolution) -> float:
    return 2.0 * layer.height * layer.width * weights(layer)


def _inputs(layer: Convolution) -> float:
    """Return the values that a convolution reads of one image, about."""
    return layer.channels_in * layer.height * layer.width * float(layer.stride**2)
