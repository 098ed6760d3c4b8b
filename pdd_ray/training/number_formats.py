"""Losses computed in another number format or memory layout than the parameters have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pdd_ray.training.loop import Loss


def in_bfloat16(loss_of: Loss) -> Loss:
    """Return ``loss_of`` with convolutions and matrix products in bfloat16, under autocast.

    Parameters, their gradients, the logits' softmax and the loss stay float32.
    """

    def loss(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return loss_of(model, images, targets).float()

    return loss


def with_channels_last(loss_of: Loss) -> Loss:
    """Return ``loss_of`` on images that are laid out with the channels last.

    The network has to be laid out so too (``model.to(memory_format=torch.channels_last)``).
    """

    def loss(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        return loss_of(model, images.contiguous(memory_format=torch.channels_last), targets)

    return loss
