"""The layers and feature maps of a network, known without torch."""

from pdd_ray.configuration.model import ConvNetSpec, DenseNetSpec, ModelSpec, ResNetSpec
from pdd_ray.models.plans.convnet import plan_convnet
from pdd_ray.models.plans.densenet import plan_densenet
from pdd_ray.models.plans.parts import Convolution, NetworkPlan, Shape
from pdd_ray.models.plans.plain import plan_plain
from pdd_ray.models.plans.resnet import plan_resnet

__all__ = ["Convolution", "NetworkPlan", "Shape", "plan_network"]


def plan_network(spec: ModelSpec, shape: Shape) -> NetworkPlan:
    """Return the layers of the network ``spec`` for images of ``shape``.

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    if isinstance(spec, ConvNetSpec):
        return plan_convnet(spec, shape)
    if isinstance(spec, ResNetSpec):
        return plan_resnet(spec, shape)
    if isinstance(spec, DenseNetSpec):
        return plan_densenet(shape)
    return plan_plain(spec, shape)
