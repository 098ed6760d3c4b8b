"""The expert steps: transitions to theta_i, and trajectories on real data that set out from it.

Expert e is one chain through all stages: theta_1 (random), theta_2 = training from theta_1 on U_1,
theta_3 = training from theta_2 on U_2, ...; the trajectory of stage i is a side branch from theta_i
(specification, section 1.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.configuration.training import ExpertSpec, SyntheticTrainingSpec
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
from pdd_ray.training.resumable import Training, train_resumably
from pdd_ray.training.scores import images_in_window
from pdd_ray.training.starts import random_start
from pdd_ray.training.trajectories import load_parameters, save_parameters, save_trajectory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.dataset import Dataset
    from pdd_ray.training.loop import Loss


def run_start(context: StepContext) -> None:
    """Make theta_{i+1} of one chain: train theta_i on U_i with alpha_i, with a fresh optimiser.

    Inputs: ``stage`` (U_i) and, for i > 1, ``start`` (theta_i).
    """
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
    train_resumably(context, TrainingState(model), training)
    network = FlatModel(model)
    save_parameters(context.output, network.flatten(model), network)


def run_expert(context: StepContext) -> None:
    """Make one trajectory: train from theta_i on the real train slice, one snapshot per epoch.

    Inputs: ``data``; for i > 1 ``start`` (theta_i); ``scores`` where the stage sees images of a
    window of difficulty only.
    """
    config = context.config
    spec = ExpertSpec.model_validate(config["expert"])
    dataset = load_dataset(context.inputs["data"], context.device)
    if "scores" in context.inputs:
        dataset, _ = images_in_window(dataset, context.inputs["scores"], config["window"])
    model = _start(context, dataset.shape, dataset.num_classes)
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
    train_resumably(context, TrainingState(model), training, recorder=snapshots)
    save_trajectory(context.output, snapshots.taken, network, spec.storage)


def _loss(context: StepContext, spec: ExpertSpec, dataset: Dataset) -> Loss:
    if spec.compile is not True:  # `auto` is what no plan has made true
        return mean_cross_entropy
    model = read_network(context.config["model"])
    return compiled_loss(model, dataset.shape, dataset.num_classes, spec.batch_size)


class _Snapshots:
    """The parameters of a network at the start and after every epoch, [P] each, on the CPU."""

    def __init__(self, model: nn.Module, network: FlatModel) -> None:
        self._model = model
        self._network = network
        self.taken: list[Tensor] = []
        self._take()

    def after_epoch(self, epoch: int) -> None:
        self._take()

    def tensors(self) -> Mapping[str, Tensor]:
        return {f"{epoch:05d}": value for epoch, value in enumerate(self.taken)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.taken = [tensors[name] for name in sorted(tensors)]

    def _take(self) -> None:
        """Copy the parameters: on a CPU ``detach().cpu()`` alone would alias the live network."""
        self.taken.append(self._network.flatten(self._model).cpu())


def _start(context: StepContext, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    config = context.config
    spec = read_network(config["model"])
    model = random_start(spec, shape, num_classes, config["seed"], config["chain"])
    if "start" in context.inputs:
        FlatModel(model).load(model, load_parameters(context.inputs["start"]))
    return model.to(context.device)
