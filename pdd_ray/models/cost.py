"""Parameters and arithmetic of a network, known without torch."""

from pdd_ray.models.plan import Convolution, Shape, plan_network
from pdd_ray.specs.model import ConvNetSpec, ModelSpec


def parameter_count(spec: ModelSpec, shape: Shape, num_classes: int) -> int:
    """Return the number of parameters of the network ``spec``.

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    plan = plan_network(spec, shape)
    convolutions = sum(_convolution_parameters(spec, layer) for layer in plan.convolutions)
    return convolutions + (plan.features + 1) * num_classes


def forward_operations(spec: ModelSpec, shape: Shape, num_classes: int) -> float:
    """Return the floating-point operations of one image's forward pass.

    Two per multiply-add of the convolutions and the classifier; normalisation, activations and
    pooling are left out.

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    plan = plan_network(spec, shape)
    convolutions = sum(
        layer.height * layer.width * _convolution_weights(layer) for layer in plan.convolutions
    )
    return 2.0 * (convolutions + plan.features * num_classes)


def _convolution_weights(layer: Convolution) -> int:
    return layer.channels_in * layer.channels_out * layer.kernel**2


def _convolution_parameters(spec: ModelSpec, layer: Convolution) -> int:
    bias = layer.channels_out if isinstance(spec, ConvNetSpec) else 0
    if spec.norm == "none":
        norm = 0
    elif spec.norm == "layer":
        norm = 2 * layer.channels_out * layer.height * layer.width
    else:
        norm = 2 * layer.channels_out
    return _convolution_weights(layer) + bias + norm
