"""Networks from their configuration."""

import torch
from torch import nn

from pdd_ray.configuration.model import ConvNetSpec, DenseNetSpec, ModelSpec, ResNetSpec
from pdd_ray.models.convnet import build_convnet
from pdd_ray.models.densenet import build_densenet
from pdd_ray.models.initialise import initialise, initialise_he
from pdd_ray.models.plain import build_plain
from pdd_ray.models.plan import Shape, plan_network
from pdd_ray.models.resnet import build_resnet


def create_model(
    spec: ModelSpec, shape: Shape, num_classes: int, generator: torch.Generator
) -> nn.Sequential:
    """Return the network ``spec`` with parameters drawn from ``generator`` only.

    The last module is the linear classifier, so ``model[:-1]`` gives the embedding of images.

    Args:
        spec: the architecture.
        shape: channels, height, width of the images.
        num_classes: outputs of the classifier.
        generator: a CPU generator; the global one is not touched.

    Returns:
        The network on the CPU in float32, in training mode, for images [N, C, H, W].

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    model = _build(spec, shape, num_classes).to_empty(device="cpu")
    if isinstance(spec, ResNetSpec) and spec.family != "mtt":
        initialise_he(model, generator)
    else:
        initialise(model, generator)
    return model


def parameter_shapes(spec: ModelSpec, shape: Shape, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every parameter, in the order of the flat vector.

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    model = _build(spec, shape, num_classes)
    return {name: tuple(value.shape) for name, value in model.named_parameters()}


def _build(spec: ModelSpec, shape: Shape, num_classes: int) -> nn.Sequential:
    plan = plan_network(spec, shape)
    with torch.device("meta"):
        if isinstance(spec, ConvNetSpec):
            return build_convnet(spec, plan, num_classes)
        if isinstance(spec, ResNetSpec):
            return build_resnet(spec, plan, shape, num_classes)
        if isinstance(spec, DenseNetSpec):
            return build_densenet(plan, num_classes)
        return build_plain(spec, plan, num_classes)
