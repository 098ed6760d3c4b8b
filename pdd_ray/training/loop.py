"""The one training loop: state, SGD, learning rates, batches, periodic saving, test accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsFloat, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pdd_ray.core.seeding import generator
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.core.transfers import moved
from pdd_ray.training.ahead import epochs_on
from pdd_ray.training.augmentation.cutmix import CutMix, draw_cutmix
from pdd_ray.training.augmentation.rules import Augmentation, draw_augmentation
from pdd_ray.training.chunks import backward, size_at_once
from pdd_ray.training.epoch_losses import EpochLosses

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.configuration.training import SyntheticTrainingSpec

TEST_BATCH = 256

NOTHING = Augmentation(())


@dataclass(frozen=True, eq=False)
class Batch:
    """One step: indices of its images, int64 [b], and what is done to them."""

    indices: Tensor
    augmentation: Augmentation = NOTHING
    cutmix: CutMix | None = None


Batches = Callable[[int], Iterable[Batch]]
"""Gives the batches of an epoch (0-based)."""

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Gives the mean loss [] of a network on images [b, C, H, W] and targets: classes [b], or
probabilities [b, classes]."""


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum and weight decay on all parameters.

    ``v = momentum * v + g + weight_decay * w``, ``w -= learning_rate * v``; the first step has
    ``v = g``. With ``reset_at_drop`` the buffers are emptied where the learning rate drops.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0
    reset_at_drop: bool = False


def sgd_of(spec: SyntheticTrainingSpec) -> Sgd:
    """Return the optimiser that ``spec`` describes."""
    return Sgd(spec.momentum, spec.weight_decay, spec.reset_momentum_at_decay)


@dataclass
class TrainingState:
    """What training changes: a network, its momentum buffers, and how many epochs are done."""

    model: nn.Module
    buffers: list[Tensor] | None = None
    epoch: int = 0

    def save(self, path: Path, recorded: Mapping[str, Tensor] | None = None) -> None:
        """Write the state to ``path``, in one file with what was ``recorded`` beside it."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, buffer in enumerate(self.buffers or []):
            tensors[f"buffer.{index:04d}"] = buffer
        tensors |= {f"recorded.{name}": value for name, value in (recorded or {}).items()}
        save_tensors(path, tensors, {"epoch": self.epoch})

    def load(self, path: Path) -> dict[str, Tensor]:
        """Take over the state that :meth:`save` wrote to ``path``; return what was recorded."""
        tensors, metadata = load_tensors(path)
        device = next(self.model.parameters()).device
        state, buffers = moved((_below("model.", tensors), _below("buffer.", tensors)), device)
        self.model.load_state_dict(state)
        self.buffers = [buffers[name] for name in sorted(buffers)] or None
        self.epoch = int(metadata["epoch"])
        return _below("recorded.", tensors)


def reference_learning_rates(learning_rate: float, epochs: int) -> list[float]:
    """Return the learning rate of every pass of the reference's training on synthetic images.

    ``epochs + 1`` passes; a tenth after the pass with index ``epochs // 2 + 1``
    (specification, section 7).
    """
    drop = epochs // 2 + 1
    return [learning_rate if epoch <= drop else 0.1 * learning_rate for epoch in range(epochs + 1)]


def milestone_learning_rates(learning_rate: float, epochs: int) -> list[float]:
    """Return the learning rate of every epoch of IDC's training on synthetic images.

    A fifth after two thirds and again after five sixths of the epochs (specification of other
    methods, section 3.6).
    """
    return _with_milestones(learning_rate, epochs, (2 * epochs // 3, 5 * epochs // 6))


def late_milestone_learning_rates(learning_rate: float, epochs: int) -> list[float]:
    """Return the learning rate of every epoch of IDC's continual learning.

    A fifth after 60 and again after 80 per cent of the epochs (specification of other methods,
    section 10).
    """
    return _with_milestones(learning_rate, epochs, (3 * epochs // 5, 4 * epochs // 5))


SCHEDULES = {
    "drop": reference_learning_rates,
    "milestones": milestone_learning_rates,
    "late_milestones": late_milestone_learning_rates,
}


def learning_rates(spec: SyntheticTrainingSpec, learning_rate: float) -> list[float]:
    """Return the learning rate of every pass of the training that ``spec`` describes."""
    return SCHEDULES[spec.schedule](learning_rate, spec.epochs)


def random_batches(
    images: Tensor,
    batch_size: int,
    strategy: str,
    seed: int,
    *names: str | int,
    rule: str = "dsa",
    cutmix: float = 0.0,
) -> Batches:
    """Return shuffled batches with one augmentation each; the last short one is kept.

    Epoch ``e`` draws from the stream ``(seed, *names, e)`` alone, so that training can continue
    at any epoch.
    """
    count, _, height, width = images.shape

    def epoch_batches(epoch: int) -> Iterable[Batch]:
        source = generator(seed, *names, epoch)
        for indices in torch.randperm(count, generator=source).split(batch_size):
            size = len(indices)
            augmentation = draw_augmentation(rule, strategy, size, height, width, source)
            mix = draw_cutmix(cutmix, size, height, width, source) if cutmix else None
            yield Batch(indices, augmentation, mix)

    return epoch_batches


def recipe_batches(
    images: Tensor, spec: SyntheticTrainingSpec, seed: int, *names: str | int
) -> Batches:
    """Return the batches of the training that ``spec`` describes."""
    return random_batches(
        images,
        spec.batch_size,
        spec.augmentation,
        seed,
        *names,
        rule=spec.augmentation_rule,
        cutmix=spec.cutmix,
    )


def mean_cross_entropy(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of ``model`` on ``images``, []."""
    return F.cross_entropy(model(images), labels)


def train(
    state: TrainingState,
    images: Tensor,
    labels: Tensor,
    learning_rates: Sequence[float],
    batches: Batches,
    sgd: Sgd,
    *,
    loss_of: Loss = mean_cross_entropy,
    after_epoch: Callable[[int, SupportsFloat], None] | None = None,
) -> TrainingState:
    """Train ``state.model`` in place with mean cross-entropy, and return the state.

    On a device the CPU hardly ever waits: draws of many steps are copied together
    (:mod:`pdd_ray.training.ahead`), and losses are read about once a second.

    Args:
        state: Network and momentum buffers; epochs below ``state.epoch`` are taken as done.
        images: [N, C, H, W], on the network's device.
        labels: Classes, int64 [N], or probabilities, [N, classes].
        learning_rates: One per epoch.
        batches: Gives the batches of an epoch; on a device it may be asked before they are needed.
        sgd: The optimiser.
        loss_of: Mean cross-entropy; give a compiled one of the same structure to be faster.
        after_epoch: Called with the number of epochs done and the epoch's mean loss. On a device,
            ``float`` of it waits, and raises if the loss of this or an earlier epoch is not finite.

    Raises:
        NonFiniteLossError: if the loss of an epoch is not finite, naming the first such epoch; on
            a device it may be found some epochs later, at the end of the training at the latest.
    """
    parameters = list(state.model.train().parameters())
    optimiser = _optimiser(parameters, sgd, state.buffers)
    losses = EpochLosses(images.device)
    epochs = range(state.epoch, len(learning_rates))
    for epoch, steps in epochs_on(images, batches, epochs):
        if sgd.reset_at_drop and epoch and learning_rates[epoch] < learning_rates[epoch - 1]:
            optimiser.state.clear()
        optimiser.param_groups[0]["lr"] = learning_rates[epoch]
        found = _train_epoch(state.model, optimiser, steps, images, labels, loss_of)
        state.buffers = _buffers(optimiser, parameters)
        state.epoch = epoch + 1
        losses.add(state.epoch, *found)
        if after_epoch is not None:
            after_epoch(state.epoch, losses.newest)
    losses.read()
    return state


def _train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    steps: Iterable[Batch],
    images: Tensor,
    labels: Tensor,
    loss_of: Loss,
) -> tuple[list[Tensor], list[int]]:
    """Train on the batches of one epoch; return the loss, [], and the size of each."""
    losses, sizes = [], []
    for batch in steps:
        inputs, targets = _step_of(batch, images, labels, model)
        optimiser.zero_grad()
        losses.append(backward(loss_of, model, inputs, targets))
        optimiser.step()
        sizes.append(len(batch.indices))
    return losses, sizes


def _step_of(
    batch: Batch, images: Tensor, labels: Tensor, model: nn.Module
) -> tuple[Tensor, Tensor]:
    """Return the images of ``batch`` as ``model`` gets them, and their targets.

    The loss of CutMix, ``r * l(y) + (1 - r) * l(y')``, is that of the mixed targets.
    """
    chosen = batch.indices.to(images.device)
    inputs, targets = batch.augmentation.apply(images[chosen]), labels[chosen]
    if batch.cutmix is None:
        return inputs, targets
    if not targets.is_floating_point():
        classifier = cast("nn.Linear", list(model.children())[-1])
        targets = F.one_hot(targets, classifier.out_features).to(inputs.dtype)
    partners = targets[batch.cutmix.permutation.to(targets.device)]
    ratio = batch.cutmix.ratio
    return batch.cutmix.apply(inputs), ratio * targets + (1 - ratio) * partners


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of ``images`` [N, C, H, W] that ``model`` in eval mode gets right."""
    return int(correct_answers(model, images, labels)) / len(labels)


@torch.no_grad()
def correct_answers(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return how many of ``images`` ``model`` in eval mode gets right, int64 [], on its device."""
    was_training = model.training
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=images.device)
    size = size_at_once(TEST_BATCH, len(images))
    for batch, truth in zip(images.split(size), labels.split(size), strict=True):
        correct += (model(batch).argmax(dim=1) == truth).sum()
    model.train(was_training)
    return correct


class PeriodicSave:
    """Saves at most once in so many ``seconds``; call it wherever saving is possible."""

    def __init__(self, save: Callable[[], None], seconds: float) -> None:
        self._save = save
        self._seconds = seconds
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether a call would save."""
        return time.monotonic() - self._last >= self._seconds

    def __call__(self) -> None:
        """Save if it is time."""
        if self.due:
            self._save()
            self._last = time.monotonic()


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _optimiser(
    parameters: list[nn.Parameter], sgd: Sgd, buffers: list[Tensor] | None
) -> torch.optim.SGD:
    """Return the optimiser, without a learning rate yet; ``buffers`` are copied."""
    optimiser = torch.optim.SGD(
        parameters,
        lr=0.0,
        momentum=sgd.momentum,
        weight_decay=sgd.weight_decay,
        foreach=True,
    )
    if buffers is not None and sgd.momentum:
        for parameter, buffer in zip(parameters, buffers, strict=True):
            optimiser.state[parameter]["momentum_buffer"] = buffer.clone()
    return optimiser


def _buffers(optimiser: torch.optim.SGD, parameters: list[nn.Parameter]) -> list[Tensor] | None:
    states = [optimiser.state[parameter].get("momentum_buffer") for parameter in parameters]
    return None if any(buffer is None for buffer in states) else states


def _with_milestones(learning_rate: float, epochs: int, milestones: tuple[int, ...]) -> list[float]:
    """Return the learning rate of every epoch, a fifth from each of ``milestones`` on."""
    return [
        learning_rate * 0.2 ** sum(milestone <= epoch for milestone in milestones)
        for epoch in range(epochs)
    ]
