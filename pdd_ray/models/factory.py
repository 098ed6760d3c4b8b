"""Networks with values, and the shapes of their parameters, from their configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from pdd_ray.models.plan import Shape
    from pdd_ray.models.registry import ModelSpec


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
    spec.initialise(model, generator)
    return model


def parameter_shapes(spec: ModelSpec, shape: Shape, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every parameter, in the order of the flat vector.

    Raises:
        ConfigError: the network cannot process images of this size.
    """
    model = _build(spec, shape, num_classes)
    return {name: tuple(value.shape) for name, value in model.named_parameters()}


def _build(spec: ModelSpec, shape: Shape, num_classes: int) -> nn.Sequential:
    with torch.device("meta"):
        return spec.build(shape, num_classes)
