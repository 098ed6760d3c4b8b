"""MTT, the distillation method: segments of expert trajectories, matched by a student.

Specification, sections 5 and 6.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from pdd_ray.core.errors import ConfigError, NonFiniteLossError
from pdd_ray.core.seeding import generator
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.core.transfers import moved
from pdd_ray.methods.base import Candidate, StageOutcome
from pdd_ray.methods.initial import class_major_labels, first_images
from pdd_ray.methods.iterate_selection import validation_accuracy
from pdd_ray.methods.soft_labels import soft_start
from pdd_ray.methods.stage_images import stage_images_of
from pdd_ray.methods.trajectory_loss import (
    InnerFunctions,
    MatchingGradient,
    Segment,
    Union,
    inner_steps,
    matching_gradient,
    momentum_update,
)
from pdd_ray.methods.waiting_values import WaitingValues
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.training.loop import PeriodicSave

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.configuration.methods.trajectory_matching import TrajectoryMatchingSpec
    from pdd_ray.methods.base import Observer, Partial, StageInputs
    from pdd_ray.models.registry import ModelSpec

PARTIAL_FILE = "trajectory_matching.safetensors"


@dataclass
class MatchingState:
    """What the iterations change.

    Attributes:
        images: What is optimised, prepared, [N, C, H, W].
        step_size: alpha, float32 [].
        soft_labels: Logits of what is optimised, [N, classes]; None for classes.
        momentum: Momentum buffers by name: ``images``, ``step_size``, ``soft_labels``.
        iteration: Updates done.
        best: The chosen iterate so far.
        best_accuracy: Its validation accuracy.
        best_iteration: Updates before it.
        curves: One value per update (and per candidate) done.
    """

    images: Tensor
    step_size: Tensor
    soft_labels: Tensor | None = None
    momentum: dict[str, Tensor] = field(default_factory=dict)
    iteration: int = 0
    best: Candidate | None = None
    best_accuracy: float = -1.0
    best_iteration: int = -1
    curves: dict[str, list[float]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the state to ``path``."""
        tensors = self.optimised()
        tensors |= {f"momentum.{name}": value for name, value in self.momentum.items()}
        facts: dict[str, Any] = {
            "iteration": self.iteration,
            "best_accuracy": self.best_accuracy,
            "best_iteration": self.best_iteration,
            "curves": self.curves,
        }
        if self.best is not None:
            tensors["best.images"] = self.best.images
            if self.best.soft_labels is not None:
                tensors["best.soft_labels"] = self.best.soft_labels
            facts["best_step_size"] = self.best.step_size
        save_tensors(path, tensors, facts)

    def load(self, path: Path) -> None:
        """Take over the state that :meth:`save` wrote to ``path``."""
        tensors, facts = load_tensors(path)
        device = self.images.device
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        self.images, self.step_size = tensors["images"], tensors["step_size"]
        self.soft_labels = tensors.get("soft_labels")
        self.momentum = {
            name.removeprefix("momentum."): value
            for name, value in tensors.items()
            if name.startswith("momentum.")
        }
        if "best.images" in tensors:
            self.best = Candidate(
                tensors["best.images"], facts["best_step_size"], tensors.get("best.soft_labels")
            )
        self.iteration = facts["iteration"]
        self.best_accuracy = facts["best_accuracy"]
        self.best_iteration = facts["best_iteration"]
        self.curves = facts["curves"]

    def optimised(self) -> dict[str, Tensor]:
        """Return what the optimisers change, by name."""
        values = {"images": self.images, "step_size": self.step_size}
        return values if self.soft_labels is None else {**values, "soft_labels": self.soft_labels}

    def candidate(self) -> Candidate:
        """Return a copy of the current iterate."""
        soft = self.soft_labels
        return Candidate(
            self.images.detach().clone(),
            float(self.step_size),
            None if soft is None else soft.detach().clone(),
        )

    def record(self, **values: float) -> None:
        """Append ``values`` to the curves."""
        for name, value in values.items():
            self.curves.setdefault(name, []).append(value)


class TrajectoryMatching:
    """The method of one stage: matches segments of the stage's expert trajectories."""

    def __init__(self, spec: TrajectoryMatchingSpec) -> None:
        self.spec = spec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the new images of stage ``inputs.stage``; see DistillationMethod."""
        self._check(inputs)
        stage = _Stage(self.spec, inputs)
        state = stage.first_state()
        path = partial.folder / PARTIAL_FILE
        if path.exists():
            state.load(path)
        save = PeriodicSave(lambda: state.save(path), partial.seconds_between_saves)
        waiting = WaitingValues(inputs.device)
        while True:
            if self._is_candidate(state.iteration):
                stage.consider(state, observer)
            if state.iteration == self.spec.iterations:
                break
            values = stage.update(state)
            waiting.add(state.iteration, values)
            if waiting.due or save.due or self._is_candidate(state.iteration):
                self._tell(stage, state, waiting, observer)
                save()
        return stage.outcome(state)

    def _is_candidate(self, iteration: int) -> bool:
        return iteration % self.spec.selection.every == 0 or iteration == self.spec.iterations

    def _tell(
        self, stage: _Stage, state: MatchingState, waiting: WaitingValues, observer: Observer
    ) -> None:
        """Record what waits on the device, if it is finite, and tell it to ``observer``."""
        values: dict[str, float] = {}
        for iteration, values in waiting.read():
            state.record(**values)
            stage.check_finite(iteration, **values)
            observer.scalars(iteration, values)
        observer.progress(state.iteration / self.spec.iterations, values)

    def _check(self, inputs: StageInputs) -> None:
        needed = self.spec.start_offset(inputs.stage) + self.spec.trajectory_epochs + 1
        for trajectory in inputs.experts:
            if trajectory.length < needed:
                msg = (
                    f"the trajectory {trajectory.path} has {trajectory.length} snapshots; "
                    f"max_start_epoch {self.spec.max_start_epoch} and expert_epochs "
                    f"{self.spec.expert_epochs} need {needed}: train experts for more epochs or "
                    "lower max_start_epoch"
                )
                raise ConfigError(msg)


@lru_cache
def _inner_functions(
    spec: ModelSpec, shape: tuple[int, int, int], num_classes: int, device: str, compile: bool
) -> InnerFunctions:
    """Return the functions of a student; once per process, since compiling them takes long.

    Its own parameters are never used: those that matter are arguments.
    """
    student = create_model(spec, shape, num_classes, torch.Generator())
    return InnerFunctions(FlatModel(student.to(device)), compile=compile)


class _Stage:
    """What stays the same during the iterations of one stage."""

    def __init__(self, spec: TrajectoryMatchingSpec, inputs: StageInputs) -> None:
        self.spec = spec
        self.inputs = inputs
        self.names = ("stage", inputs.stage)
        dataset = inputs.dataset
        self.stage_images = stage_images_of(inputs, spec)
        self.new_labels = class_major_labels(dataset.num_classes, inputs.images_per_class)
        self.labels = torch.cat([self.stage_images.frozen_labels, self.stage_images.labels])
        self.frozen = self.stage_images.frozen if len(self.stage_images.frozen) else None
        frozen_soft = inputs.previous.soft_labels[: len(self.stage_images.frozen)]
        self.frozen_soft = frozen_soft.to(inputs.device)
        self.functions = _inner_functions(
            inputs.model, dataset.shape, dataset.num_classes, inputs.device, spec.compile
        )

    def first_state(self) -> MatchingState:
        inputs = self.inputs
        names = (*self.names, "initialisation")
        new = first_images(
            self.spec.initialisation,
            inputs.dataset,
            inputs.images_per_class,
            inputs.seed,
            *names,
        )
        soft = None
        if self.spec.labels == "soft":
            new, soft = soft_start(inputs, new, names)
            carried = inputs.previous.soft_labels if len(self.stage_images.carried) else soft[:0]
            soft = torch.cat([carried, soft]).to(inputs.device)
        return MatchingState(
            images=self.stage_images.first(new.to(inputs.device)),
            step_size=torch.tensor(self.spec.initial_step_size, device=inputs.device),
            soft_labels=soft,
        )

    def update(self, state: MatchingState) -> dict[str, Tensor]:
        """Make one update of the images and of the step size; return what curves show, [] each.

        All that is random or read from a file goes to the device in one copy, and nothing is read
        from it.
        """
        source = generator(self.inputs.seed, *self.names, "iteration", state.iteration)
        with self._naming(state.iteration + 1):
            segment = self._segment(state.iteration, source)
        batch_size = self.spec.batch_size or len(self.new_labels)
        height, width = state.images.shape[-2:]
        steps = inner_steps(
            len(self.labels),
            batch_size,
            self.spec.inner_steps,
            self.spec.augmentation,
            (height, width),
            source,
        )
        segment, steps = moved((segment, steps), self.inputs.device)
        with self._naming(state.iteration + 1):
            result = matching_gradient(
                self.functions,
                Union(state.images, self._targets(state), self.frozen),
                state.step_size,
                segment,
                steps,
                self.spec.gradient,
            )
        self._apply(state, result)
        state.iteration += 1
        return {
            "loss": result.loss,
            "step_size": state.step_size,
            "student_loss": result.step_losses[-1],
        }

    def consider(self, state: MatchingState, observer: Observer) -> None:
        """Evaluate the current iterate, and keep it if it is the best one so far."""
        if state.iteration in state.curves.get("candidate_iteration", []):
            return
        candidate = state.candidate()
        with self._naming(state.iteration):
            accuracy = validation_accuracy(
                candidate, self.stage_images, self.inputs, self.spec.selection
            )
        if accuracy > state.best_accuracy:
            state.best, state.best_accuracy = candidate, accuracy
            state.best_iteration = state.iteration
        state.record(candidate_iteration=state.iteration, validation_accuracy=accuracy)
        observer.scalars(state.iteration, {"validation_accuracy": accuracy})
        observer.images(state.iteration, candidate.images[-len(self.new_labels) :])

    def outcome(self, state: MatchingState) -> StageOutcome:
        best = state.best or state.candidate()
        previous, images = self.stage_images.split(best.images)
        previous_soft, soft = None, None
        if best.soft_labels is not None:
            previous_soft, soft = self.stage_images.split(best.soft_labels)
        return StageOutcome(
            images=images,
            labels=self.new_labels,
            step_size=best.step_size,
            soft_labels=soft,
            previous=previous,
            previous_soft_labels=previous_soft,
            facts={
                "chosen_iteration": state.best_iteration,
                "validation_accuracy": state.best_accuracy,
                "first_loss": state.curves["loss"][0],
                "last_loss": state.curves["loss"][-1],
            },
            curves=state.curves,
        )

    def _segment(self, iteration: int, source: torch.Generator) -> Segment:
        """Draw an expert, each once before any is drawn again, and a start epoch."""
        count = len(self.inputs.experts)
        turn, position = divmod(iteration, count)
        order = torch.randperm(
            count, generator=generator(self.inputs.seed, *self.names, "expert order", turn)
        )
        expert = self.inputs.experts[int(order[position])]
        low, high = self.spec.start_epochs(iteration)
        offset = low + self.spec.start_offset(self.inputs.stage)
        epoch = offset + int(torch.randint(high - low, (), generator=source))
        segment = Segment(*expert.snapshots(epoch, epoch + self.spec.expert_epochs))
        segment.distance()  # raises here, on the CPU, if it is not positive
        return segment

    def _targets(self, state: MatchingState) -> Tensor:
        """Return the labels of frozen and optimised images: classes, or logits if they are soft."""
        if state.soft_labels is None:
            return self.labels
        return torch.cat([self.frozen_soft, state.soft_labels])

    def _apply(self, state: MatchingState, result: MatchingGradient) -> None:
        """Make the step of all optimisers, unless the loss is above the limit.

        That is decided on the device: an update that is skipped leaves everything as it was.
        """
        spec = self.spec
        kept = None if spec.skip_above is None else result.loss <= spec.skip_above
        steps: dict[str, tuple[Tensor, float | Tensor, float]] = {
            "images": (
                result.images,
                spec.image_learning_rate * self.stage_images.rates,
                spec.momentum,
            ),
            "step_size": (result.step_size, spec.step_size_learning_rate, spec.momentum),
        }
        if result.labels is not None:
            gradient = result.labels[len(self.stage_images.frozen) :]
            rates = spec.label_learning_rate * self.stage_images.rates.flatten(1)
            steps["soft_labels"] = (gradient, rates, spec.label_momentum)
        values = state.optimised()
        for name, (gradient, rate, momentum) in steps.items():
            before = state.momentum.get(name)
            value, buffer = momentum_update(values[name], gradient, before, rate, momentum)
            if kept is not None:
                value = torch.where(kept, value, values[name])
                buffer = buffer.where(kept, torch.zeros_like(buffer) if before is None else before)
            setattr(state, name, value)
            state.momentum[name] = buffer

    @contextmanager
    def _naming(self, iteration: int) -> Iterator[None]:
        """Say in which iteration a loss was not finite."""
        try:
            yield
        except NonFiniteLossError as error:
            msg = f"in iteration {iteration} of stage {self.inputs.stage} {error}"
            raise NonFiniteLossError(msg) from error

    def check_finite(
        self, iteration: int, loss: float, step_size: float, student_loss: float
    ) -> None:
        """Raise NonFiniteLossError if the update number ``iteration`` diverged."""
        del student_loss
        if not (math.isfinite(loss) and math.isfinite(step_size) and step_size > 0):
            msg = (
                f"distillation diverged in iteration {iteration} of stage "
                f"{self.inputs.stage}: loss {loss:.4g}, step size {step_size:.4g}; lower "
                "image_learning_rate, step_size_learning_rate or inner_steps"
            )
            raise NonFiniteLossError(msg)
