"""Every unit of work, by the plain loop or by ours: it calls ``turn`` after each update."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.utils import parameters_to_vector

from pdd_ray.configuration.methods.gradient_matching import DcSpec, IdcSpec
from pdd_ray.methods.base import Partial
from pdd_ray.methods.idc import first_images as first_of_idc
from pdd_ray.methods.initial import first_images
from pdd_ray.methods.stage import create_method
from pdd_ray.methods.trajectory_loss import (
    InnerFunctions,
    Union,
    matching_gradient,
    momentum_update,
)
from pdd_ray.models.compiled import compiled_loss
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.loop import TrainingState, mean_cross_entropy, train
from peers import plain
from peers.problems import (
    CLASSES,
    COMPILED,
    PLAIN,
    PLAIN_REUSED,
    SIDE,
    Run,
    matching_problem,
    spec_of,
    stage_inputs,
    training_problem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from pdd_ray.methods.base import StageInputs
    from peers.problems import MatchingProblem, TrainingProblem
    from peers.turns import Turn


def work(run: Run) -> Callable[[Turn], Tensor]:
    """Return what makes the updates of ``run`` and gives what they changed, as one tensor."""
    if run.unit == "mtt":
        problem = matching_problem(run)
        return lambda turn: _trajectory_matching(run, problem, turn)
    if run.unit in ("expert", "evaluation"):
        epochs = training_problem(run)
        return lambda turn: _training(run, epochs, turn)
    inputs = stage_inputs(run)
    return lambda turn: _class_by_class(run, inputs, turn)


def _class_by_class(run: Run, inputs: StageInputs, turn: Turn) -> Tensor:
    spec = spec_of(run)
    names = ("stage", inputs.stage, "initial" if isinstance(spec, DcSpec) else "initialisation")
    if isinstance(spec, IdcSpec):
        first = first_of_idc(spec, inputs)
    else:
        first = first_images(
            spec.initialisation, inputs.dataset, inputs.images_per_class, inputs.seed, *names
        )
    if _is_plain(run):
        images = first.clone().requires_grad_()
        {"dc": plain.dc, "dm": plain.dm, "idc": plain.idc}[run.unit](inputs, spec, images, turn)
        last = images.detach()
        return (last.clamp(0, 1) if isinstance(spec, IdcSpec) else last) - first
    with tempfile.TemporaryDirectory() as folder:
        partial = Partial(Path(folder), math.inf)  # nothing is saved
        outcome = create_method(spec).distill(inputs, partial, _Waiting(turn))
    return outcome.images - first


def _trajectory_matching(run: Run, problem: MatchingProblem, turn: Turn) -> Tensor:
    if _is_plain(run):
        learned = problem.first.clone().requires_grad_()
        plain.mtt(problem, learned, run.updates, turn)
        return learned.detach() - problem.first
    functions = InnerFunctions(FlatModel(problem.model), compile=run.kind == COMPILED)
    images, step_size = problem.first, torch.tensor(problem.step_size)
    of_images, of_step_size = None, None
    for iteration in range(run.updates):
        union, steps = Union(images, problem.labels), problem.steps(iteration)
        result = matching_gradient(functions, union, step_size, problem.segment, steps)
        images, of_images = momentum_update(
            images, result.images, of_images, problem.image_rate, problem.momentum
        )
        step_size, of_step_size = momentum_update(
            step_size, result.step_size, of_step_size, problem.step_size_rate, problem.momentum
        )
        turn(float(result.loss))
    return images - problem.first


def _training(run: Run, problem: TrainingProblem, turn: Turn) -> Tensor:
    model = problem.model
    before = parameters_to_vector(model.parameters()).detach().clone()
    if _is_plain(run):
        model = plain.training(problem, run.updates, turn)
    else:
        loss_of = mean_cross_entropy
        if run.kind == COMPILED:
            shape = (3, SIDE, SIDE)
            loss_of = compiled_loss(
                ConvNetSpec(width=run.width), shape, CLASSES, problem.batch_size
            )

        def after_epoch(epoch: int, loss: float) -> None:
            if epoch % problem.epochs == 0:
                turn(loss)

        train(
            TrainingState(model),
            problem.images,
            problem.labels,
            [problem.rate] * (problem.epochs * run.updates),
            problem.batches,
            problem.sgd,
            loss_of=loss_of,
            after_epoch=after_epoch,
        )
    return parameters_to_vector(model.parameters()).detach() - before


def _is_plain(run: Run) -> bool:
    return run.kind in (PLAIN, PLAIN_REUSED)


class _Waiting:
    """An observer that waits for its turn between two updates."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Take no notice."""

    def images(self, iteration: int, images: Tensor) -> None:
        """Take no notice."""

    def progress(self, fraction: float, values: Mapping[str, float]) -> None:
        """Say that an update is done, and wait."""
        self._turn(values["loss"])
