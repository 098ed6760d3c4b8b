"""Parameters and arithmetic of a network, known without torch."""

from pdd_ray.models.plan import Convolution, Shape
from pdd_ray.models.registry import ModelSpec


def parameter_count(spec: ModelSpec, shape: Shape, num_classes: int) -> int:
    """Return the number of parameters of the network ``spec``.

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    plan = spec.plan(shape)
    biases = sum(layer.channels_out for layer in plan.convolutions if layer.bias)
    convolutions = biases + sum(map(weights, plan.convolutions))
    linear = sum((inputs + 1) * outputs for inputs, outputs in plan.hidden)
    return convolutions + plan.norm_parameters + linear + (plan.features + 1) * num_classes


def forward_operations(spec: ModelSpec, shape: Shape, num_classes: int) -> float:
    """Return the floating-point operations of one image's forward pass.

    Two per multiply-add of the convolutions and the linear layers; normalisation, activations and
    pooling are left out.

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    plan = spec.plan(shape)
    convolutions = sum(layer.height * layer.width * weights(layer) for layer in plan.convolutions)
    linear = sum(inputs * outputs for inputs, outputs in plan.hidden)
    return 2.0 * (convolutions + linear + plan.features * num_classes)


def weights(layer: Convolution) -> int:
    """Return the weights of a convolution, without biases."""
    return layer.channels_in * layer.channels_out * layer.kernel**2
