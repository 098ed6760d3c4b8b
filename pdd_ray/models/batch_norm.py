"""Running statistics of batch norm for networks of which only the parameters are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from pdd_ray.core.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 256


def mixes_images(model: nn.Module) -> bool:
    """Return whether ``model`` has batch norm that computes with the statistics of a batch."""
    norms = (each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm))
    return any(norm.training or norm.running_mean is None for norm in norms)


@torch.no_grad()
def set_statistics(model: nn.Module, images: Tensor, batch: int = BATCH) -> None:
    """Set the running means and variances of ``model`` to those that ``images`` give, in place.

    They are the averages over batches of about ``batch`` images, all of the same size but for
    one image, in a random order that is always the same: an order by class would leave out the
    variance between classes. Nothing happens where there is no batch norm.

    Args:
        model: The network; left in the mode that it has.
        images: Prepared images, [N, C, H, W], on the network's device and in its dtype.
        batch: Most images of a batch.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta, was_training = [norm.momentum for norm in norms], model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    model.train()
    order = torch.randperm(len(images), generator=generator(0, "batch norm statistics"))
    for positions in order.to(images.device).tensor_split(-(-len(images) // batch)):
        model(images[positions])
    model.train(was_training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
