"""The outer loop of distillation over drawn networks: which is drawn, state, resuming, outcome."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.core.seeding import generator
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.core.transfers import moved, moved_network
from pdd_ray.methods.base import StageOutcome
from pdd_ray.methods.trajectory_loss import momentum_update
from pdd_ray.methods.waiting_values import WaitingValues
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.training.loop import PeriodicSave

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from pdd_ray.methods.base import Observer, Partial, StageInputs
    from pdd_ray.methods.stage_images import StageImages

PARTIAL_FILE = "draws.safetensors"
PICTURES = 10
"""Pictures of the images shown during a stage."""


@dataclass
class DrawState:
    """What the draws change.

    Attributes:
        images: What is optimised, [N, C, H, W].
        momentum: Its momentum buffer, or None before the first update.
        draw: Networks done.
        curves: One value per draw.
    """

    images: Tensor
    momentum: Tensor | None = None
    draw: int = 0
    curves: dict[str, list[float]] = field(default_factory=dict)

    def descend(self, gradient: Tensor, rates: Tensor, momentum: float) -> None:
        """Make one step of SGD with momentum; ``rates`` are per image, [N, 1, 1, 1]."""
        self.images, self.momentum = momentum_update(
            self.images, gradient, self.momentum, rates, momentum
        )

    def save(self, path: Path) -> None:
        """Write the state to ``path``."""
        tensors = {"images": self.images}
        if self.momentum is not None:
            tensors["momentum"] = self.momentum
        save_tensors(path, tensors, {"draw": self.draw, "curves": self.curves})

    def load(self, path: Path) -> None:
        """Take over the state that :meth:`save` wrote to ``path``."""
        tensors, facts = load_tensors(path)
        device = self.images.device
        self.images = tensors["images"].to(device)
        self.momentum = tensors["momentum"].to(device) if "momentum" in tensors else None
        self.draw, self.curves = facts["draw"], facts["curves"]


def distill_by_draws(
    draws: int,
    first: Tensor,
    use: Callable[[DrawState], Mapping[str, Tensor | float]],
    inputs: StageInputs,
    partial: Partial,
    observer: Observer,
) -> DrawState:
    """Return the state after ``draws`` networks; progress is saved between two of them.

    Args:
        draws: Number of networks.
        first: What is optimised, at the start.
        use: Updates ``state.images`` and ``state.momentum`` with the network number
            ``state.draw``, and returns what is worth showing, ``loss`` among it: numbers, or
            tensors [] that may wait on the device. All it draws must come from streams named by
            the draw, so that a stopped stage continues the same way.
        inputs: The stage's inputs.
        partial: Where progress is saved.
        observer: Who is told.

    Raises:
        NonFiniteLossError: if the loss is not finite, naming the network; on a device it may be
            found some networks later.
    """
    state = DrawState(first)
    path = partial.folder / PARTIAL_FILE
    if path.exists():
        state.load(path)
    save = PeriodicSave(lambda: state.save(path), partial.seconds_between_saves)
    picture = max(1, draws // PICTURES)
    waiting = WaitingValues(inputs.device)
    while state.draw < draws:
        found = use(state)
        state.draw += 1
        waiting.add(state.draw, found)
        shown = state.draw % picture == 0 or state.draw == draws
        if waiting.due or save.due or shown:
            values = _told(waiting, state, inputs.stage, observer)
            observer.progress(state.draw / draws, values)
            if shown:
                observer.images(state.draw, state.images[-_new(inputs) :])
            save()
    return state


def outcome_of(
    state: DrawState, stage_images: StageImages, inputs: StageInputs, step_size: float
) -> StageOutcome:
    """Return the outcome of a stage whose last iterate is handed on."""
    previous, images = stage_images.split(state.images)
    loss = state.curves["loss"]
    return StageOutcome(
        images=images,
        labels=stage_images.labels[-_new(inputs) :].cpu(),
        step_size=step_size,
        previous=previous,
        facts={"first_loss": loss[0], "last_loss": loss[-1]},
        curves=state.curves,
    )


def drawn_network(inputs: StageInputs, draw: int) -> Tensor:
    """Return the parameters [P] of network number ``draw``: fresh, or one of the bank.

    Every member of the bank is drawn once before any is drawn again.
    """
    if inputs.bank:
        return moved(_member(inputs, draw), inputs.device)
    model = _network(inputs, generator(inputs.seed, *_names(inputs), draw))
    return moved(FlatModel(model).flatten(model), inputs.device)


def drawn_model(inputs: StageInputs, draw: int) -> nn.Module:
    """Return network number ``draw`` as a module that can be trained, on the stage's device."""
    if inputs.bank:
        model = _network(inputs, torch.Generator())
        FlatModel(model).load(model, _member(inputs, draw))
    else:
        model = _network(inputs, generator(inputs.seed, *_names(inputs), draw))
    return moved_network(model, inputs.device)


def _member(inputs: StageInputs, draw: int) -> Tensor:
    """Return the member of the bank that is network number ``draw``, [P]."""
    turn, position = divmod(draw, len(inputs.bank))
    source = generator(inputs.seed, *_names(inputs), "order", turn)
    order = torch.randperm(len(inputs.bank), generator=source)
    return inputs.bank[int(order[position])]


def _network(inputs: StageInputs, source: torch.Generator) -> nn.Module:
    dataset = inputs.dataset
    return create_model(inputs.model, dataset.shape, dataset.num_classes, source)


def _names(inputs: StageInputs) -> tuple[str | int, ...]:
    """Return the name of the stream of networks."""
    return ("stage", inputs.stage, "network")


def _told(
    waiting: WaitingValues, state: DrawState, stage: int, observer: Observer
) -> dict[str, float]:
    """Record what waits on the device and tell it to ``observer``; return the newest values.

    Raises:
        NonFiniteLossError: if a value is not finite, naming the network.
    """
    newest: dict[str, float] = {}
    for draw, values in waiting.read():
        if not all(math.isfinite(value) for value in values.values()):
            raise NonFiniteLossError(_diverged(draw, stage, values))
        for name, value in values.items():
            state.curves.setdefault(name, []).append(value)
        observer.scalars(draw, values)
        newest = values
    return newest


def _new(inputs: StageInputs) -> int:
    return inputs.dataset.num_classes * inputs.images_per_class


def _diverged(draw: int, stage: int, values: Mapping[str, float]) -> str:
    shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    return (
        f"distillation diverged with network {draw} of stage {stage}: {shown}; lower "
        "image_learning_rate"
    )
