"""Training several networks at once: what :func:`pdd_ray.training.loop.train` does, for each.

The networks have the same structure, images, learning rates and optimiser, and each its own start
and its own draws. They are independent, so the gradient of the sum of their losses is that of each.
Results agree with those of one network alone to rounding: sums are formed in other orders.
"""

from __future__ import annotations

import operator
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F

from pdd_ray.models.grouped import GroupedNetworks
from pdd_ray.training.ahead import epochs_on
from pdd_ray.training.epoch_losses import EpochLosses
from pdd_ray.training.merged import MergedBatch, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import SupportsFloat

    from torch import Tensor, nn

    from pdd_ray.training.loop import Batches, Sgd, TrainingState

    AfterEpoch = Callable[[int, SupportsFloat, Callable[[], list[float]]], None]
    """Called with the epochs done, the mean loss over all networks, and what gives that of each."""


def train_grouped(
    states: Sequence[TrainingState],
    images: Tensor,
    targets: Tensor,
    learning_rates: Sequence[float],
    batches: Sequence[Batches],
    sgd: Sgd,
    *,
    after_epoch: AfterEpoch | None = None,
) -> None:
    """Train the networks of ``states`` in place, with mean cross-entropy.

    Args:
        states: Of k networks on the device of the images, all after the same number of epochs.
        images: [N, C, H, W], what all of them are trained on.
        targets: Classes, int64 [N], or probabilities, [N, classes].
        learning_rates: One per epoch.
        batches: For each network what gives its batches; at the same step all are of one size.
        sgd: The optimiser.
        after_epoch: Called after each epoch. ``float`` of the mean loss raises if the loss of any
            network is not finite, in this or an earlier epoch.

    Raises:
        NonFiniteLossError: if the loss of a network is not finite; see :class:`EpochLosses`.
        UngroupableError: if networks of this structure can't be grouped.
    """
    networks = GroupedNetworks([state.model.train() for state in states])
    parameters = _in_order_of(states[0].model, networks)
    optimiser = _optimiser(parameters, sgd, [state.buffers for state in states])
    losses = EpochLosses(images.device)
    buffers: list[Tensor] = []
    for epoch, steps in epochs_on(
        images,
        cast("Batches", merged_batches(images, batches)),
        range(states[0].epoch, len(learning_rates)),
    ):
        if sgd.reset_at_drop and epoch and learning_rates[epoch] < learning_rates[epoch - 1]:
            optimiser.state.clear()
        optimiser.param_groups[0]["lr"] = learning_rates[epoch]
        each, sizes = _train_epoch(
            networks, optimiser, cast("Iterable[MergedBatch]", steps), images, targets
        )
        buffers = _tell(states, epoch + 1, optimiser, parameters, buffers)
        losses.add(epoch + 1, each.mean(dim=1).unbind(), sizes)
        if after_epoch is not None:
            after_epoch(epoch + 1, losses.newest, partial(_means, each, sizes))
    losses.read()


def merged_batches(
    images: Tensor, batches: Sequence[Batches]
) -> Callable[[int], Iterator[MergedBatch]]:
    """Return what gives the batches of an epoch of several networks, merged."""

    def epoch_batches(epoch: int) -> Iterator[MergedBatch]:
        for together in zip(*(each(epoch) for each in batches), strict=True):
            yield merged(together, *images.shape[2:])

    return epoch_batches


def _train_epoch(
    networks: GroupedNetworks,
    optimiser: torch.optim.Optimizer,
    steps: Iterable[MergedBatch],
    images: Tensor,
    targets: Tensor,
) -> tuple[Tensor, list[int]]:
    """Train on the batches of one epoch; return their losses, [batches, k], and their sizes."""
    losses, sizes = [], []
    for batch in steps:
        inputs, wanted = batch.step_of(images, targets, networks.outputs)
        logits = networks(inputs)
        each = F.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(0, 1), reduction="none"
        ).unflatten(0, (batch.count, -1))
        means = each.mean(dim=1)
        optimiser.zero_grad()
        means.sum().backward()
        optimiser.step()
        losses.append(means.detach())
        sizes.append(inputs.shape[1])
    return torch.stack(losses), sizes


def _means(losses: Tensor, sizes: Sequence[int]) -> list[float]:
    """Return the mean loss of each network, of ``losses`` [batches, k]; waits for the device."""
    weights = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    means: list[float] = (weights @ losses.cpu().to(torch.float64)).tolist()
    return means


def _in_order_of(model: nn.Module, networks: GroupedNetworks) -> list[nn.Parameter]:
    """Return the stacked parameters in the order of those of one network."""
    stacked = dict(networks.body.named_parameters())
    return [stacked[name] for name, _ in model.named_parameters()]


def _optimiser(
    parameters: Sequence[nn.Parameter], sgd: Sgd, buffers: Sequence[list[Tensor] | None]
) -> torch.optim.SGD:
    """Return the optimiser, without a learning rate yet; ``buffers`` of the networks are copied."""
    optimiser = torch.optim.SGD(
        parameters, lr=0.0, momentum=sgd.momentum, weight_decay=sgd.weight_decay, foreach=True
    )
    own = [each for each in buffers if each is not None]
    if sgd.momentum and own:
        for parameter, *parts in zip(parameters, *own, strict=True):
            optimiser.state[parameter]["momentum_buffer"] = torch.stack(parts)
    return optimiser


def _tell(
    states: Sequence[TrainingState],
    epoch: int,
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    told: list[Tensor],
) -> list[Tensor]:
    """Let the states of the networks say where they are, and return the buffers of all networks.

    Buffers are views and change with those of all: they are new only where these are not ``told``.
    """
    found = [optimiser.state[parameter].get("momentum_buffer") for parameter in parameters]
    stacked = [buffer for buffer in found if buffer is not None]
    same = len(stacked) == len(told) and all(map(operator.is_, stacked, told))
    for number, state in enumerate(states):
        state.epoch = epoch
        if not same:
            state.buffers = [buffer[number] for buffer in stacked] or None
    return stacked
