"""The mean cross-entropy as a function of a network's state, compiled once per process.

All networks of the same structure share what is compiled.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch.func import functional_call

from pdd_ray.models.compilation import compiled
from pdd_ray.models.factory import create_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from pdd_ray.models.plan import Shape
    from pdd_ray.models.registry import ModelSpec

    StateLoss = Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]


def functional_loss(spec: ModelSpec, shape: Shape, num_classes: int) -> StateLoss:
    """Return the mean cross-entropy as a function of parameters and buffers, images and labels.

    Uncompiled it takes the time of calling the network, and gives the same bytes
    (benchmarks/twins.py).

    Args:
        spec: Structure of the network.
        shape: (C, H, W).
        num_classes: Number of classes.
    """
    skeleton = create_model(spec, shape, num_classes, torch.Generator())

    def loss(state: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = functional_call(skeleton, state, (images,))
        return F.cross_entropy(logits, labels)

    return loss


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of ``model`` by name, the tensors themselves."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@lru_cache
def compiled_loss(
    spec: ModelSpec, shape: Shape, num_classes: int, batch_size: int
) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Return the mean cross-entropy of a network on images and labels, compiled for one batch size.

    The parameters are arguments of what is compiled: compiling the networks themselves would
    start anew with each of them. Batches of another size, the last one of an epoch, run eagerly.

    Args:
        spec: Structure of the networks that it will be called with.
        shape: (C, H, W).
        num_classes: Number of classes.
        batch_size: Images per batch.
    """
    eager = functional_loss(spec, shape, num_classes)
    fast = compiled(eager)

    def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        loss = fast if len(labels) == batch_size else eager
        return loss(state_of(model), images, labels)

    return loss_of
