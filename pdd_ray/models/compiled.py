"""A network's loss, compiled once per process and used by all networks of the same structure."""

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
    skeleton = create_model(spec, shape, num_classes, torch.Generator())

    def loss(state: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = functional_call(skeleton, state, (images,))
        return F.cross_entropy(logits, labels)

    fast = compiled(loss)

    def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        if len(labels) != batch_size:
            return F.cross_entropy(model(images), labels)
        return fast(
            {**dict(model.named_parameters()), **dict(model.named_buffers())}, images, labels
        )

    return loss_of
