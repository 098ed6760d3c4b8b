"""The expert steps: transitions to theta_i, and trajectories on real data that set out from it.

Expert e is one chain through all stages: theta_1 (random), theta_2 = training from theta_1 on U_1,
theta_3 = training from theta_2 on U_2, ...; the trajectory of stage i is a side branch from theta_i
(specification, section 1.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.configuration.training import ExpertSpec, SyntheticTrainingSpec
from pdd_ray.core.transfers import moved_network
from pdd_ray.data.dataset import load_dataset
from pdd_ray.data.synthetic_set import load_synthetic_set
from pdd_ray.models.compiled import compiled_loss
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.registry import read_network
from pdd_ray.training.loop import (
    Sgd,
    TrainingState,
    learning_rates,
    mean_cross_entropy,
    random_batches,
    recipe_batches,
    sgd_of,
)
from pdd_ray.training.number_formats import in_bfloat16, with_channels_last
from pdd_ray.training.resumable import Training
from pdd_ray.training.scores import images_in_window
from pdd_ray.training.starts import random_start
from pdd_ray.training.together import Request, run_alone, run_together
from pdd_ray.training.trajectories import load_parameters, save_parameters, save_trajectory

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from torch import Tensor, nn

    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.dataset import Dataset
    from pdd_ray.training.loop import Loss

WAITING_BYTES = 2**26
"""Snapshots that stay on a device are not larger than this together."""


def run_start(context: StepContext) -> None:
    """Make theta_{i+1} of one chain: train theta_i on U_i with alpha_i, with a fresh optimiser.

    Inputs: ``stage`` (U_i) and, for i > 1, ``start`` (theta_i).
    """
    run_alone(_start_made, context)


def run_starts(contexts: Sequence[StepContext]) -> None:
    """Do :func:`run_start` for several chains at once."""
    run_together(_start_made, contexts)


def run_expert(context: StepContext) -> None:
    """Make one trajectory: train from theta_i on the real train slice, one snapshot per epoch.

    Inputs: ``data``; for i > 1 ``start`` (theta_i); ``scores`` where the stage sees images of a
    window of difficulty only.
    """
    run_alone(_expert_made, context)


def run_experts(contexts: Sequence[StepContext]) -> None:
    """Do :func:`run_expert` for several chains at once."""
    run_together(_expert_made, contexts)


def _start_made(context: StepContext) -> Generator[Request]:
    config = context.config
    spec = SyntheticTrainingSpec.model_validate(config["transition"])
    union = load_synthetic_set(context.inputs["stage"])
    _, *shape = union.images.shape
    model = _start(context, (shape[0], shape[1], shape[2]), len(union.classes))
    images, labels = union.images.to(context.device), union.targets.to(context.device)
    rates = learning_rates(spec, union.step_size(union.stages))
    names = ("chain", config["chain"], "transition", union.stages)
    batches = recipe_batches(images, spec, config["seed"], *names)
    training = Training(images, labels, rates, batches, sgd_of(spec))
    yield Request(context, TrainingState(model), training)
    network = FlatModel(model)
    save_parameters(context.output, network.flatten(model), network)


def _expert_made(context: StepContext) -> Generator[Request]:
    config = context.config
    spec = ExpertSpec.model_validate(config["expert"])
    dataset = load_dataset(context.inputs["data"], context.device, ["train"])
    if "scores" in context.inputs:
        dataset, _ = images_in_window(dataset, context.inputs["scores"], config["window"])
    model = _start(context, dataset.shape, dataset.num_classes)
    if spec.channels_last:
        model = model.to(memory_format=torch.channels_last)
    network = FlatModel(model)
    snapshots = _Snapshots(model, network)
    names = ("chain", config["chain"], "expert", config["stage"])
    batches = random_batches(
        dataset.train_images, spec.batch_size, spec.augmentation, config["seed"], *names
    )
    rates = [spec.learning_rate] * config["epochs"]
    training = Training(
        dataset.train_images,
        dataset.train_labels,
        rates,
        batches,
        Sgd(spec.momentum, spec.weight_decay),
        _loss(context, spec, dataset),
    )
    yield Request(context, TrainingState(model), training, snapshots)
    save_trajectory(context.output, snapshots.taken, network, spec.storage)


def _loss(context: StepContext, spec: ExpertSpec, dataset: Dataset) -> Loss:
    loss: Loss = mean_cross_entropy
    if spec.compile:
        model = read_network(context.config["model"])
        loss = compiled_loss(model, dataset.shape, dataset.num_classes, spec.batch_size)
    if spec.precision == "bfloat16":
        loss = in_bfloat16(loss)
    return with_channels_last(loss) if spec.channels_last else loss


class _Snapshots:
    """The parameters of a network at the start and after every epoch, [P] each.

    They stay on its device for some epochs, and come to the CPU together.
    """

    def __init__(self, model: nn.Module, network: FlatModel) -> None:
        self._model = model
        self._network = network
        self._taken: list[Tensor] = []
        self._waiting: list[Tensor] = []
        self._take()

    @property
    def taken(self) -> list[Tensor]:
        """All of them so far, on the CPU."""
        self._read()
        return self._taken

    def after_epoch(self, epoch: int) -> None:
        self._take()

    def tensors(self) -> Mapping[str, Tensor]:
        return {f"{epoch:05d}": value for epoch, value in enumerate(self.taken)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self._waiting.clear()
        self._taken = [tensors[name] for name in sorted(tensors)]

    def _take(self) -> None:
        """Copy the parameters: those of the network change with every step."""
        snapshot = self._network.flatten(self._model)
        self._waiting.append(snapshot)
        size = sum(value.numel() * value.element_size() for value in self._waiting)
        if snapshot.device.type == "cpu" or size >= WAITING_BYTES:
            self._read()

    def _read(self) -> None:
        if self._waiting:
            self._taken += torch.stack(self._waiting).cpu().unbind()
            self._waiting.clear()


def _start(context: StepContext, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    config = context.config
    spec = read_network(config["model"])
    model = random_start(spec, shape, num_classes, config["seed"], config["chain"])
    if "start" in context.inputs:
        FlatModel(model).load(model, load_parameters(context.inputs["start"]))
    return moved_network(model, context.device)
