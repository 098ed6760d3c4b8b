"""Experts: the transition to theta_i, and the trajectory on real data that sets out from it.

Expert e is one chain through all stages: theta_1 (random), theta_2 = training from theta_1 on U_1,
theta_3 = training from theta_2 on U_2, ...; the trajectory of stage i is a side branch from theta_i
(specification, section 1.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from pdd_ray.configuration.training import ExpertSpec, SyntheticTrainingSpec
from pdd_ray.core.tensors import load_tensors, save_tensors
from pdd_ray.data.dataset import load_dataset
from pdd_ray.data.synthetic_set import load_synthetic_set
from pdd_ray.models.compiled import compiled_loss
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.registry import ModelSpec
from pdd_ray.training.loop import (
    PeriodicSave,
    Sgd,
    TrainingState,
    learning_rates,
    mean_cross_entropy,
    random_batches,
    recipe_batches,
    sgd_of,
    train,
)
from pdd_ray.training.scores import images_in_window
from pdd_ray.training.starts import random_start
from pdd_ray.training.trajectories import load_parameters, save_parameters, save_trajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.dataset import Dataset
    from pdd_ray.training.loop import Loss

STATE_FILE = "training.safetensors"
SNAPSHOTS_FILE = "snapshots.safetensors"
_MODEL: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)


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
    sgd = sgd_of(spec)
    state = TrainingState(model)
    path = context.partial / STATE_FILE
    if path.exists():
        state.load(path)
    save = PeriodicSave(lambda: state.save(path))
    train(state, images, labels, rates, batches, sgd, after_epoch=_reporter(context, rates, save))
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
    recorder = _Recorder(context, TrainingState(model), network)
    names = ("chain", config["chain"], "expert", config["stage"])
    batches = random_batches(
        dataset.train_images, spec.batch_size, spec.augmentation, config["seed"], *names
    )
    rates = [spec.learning_rate] * config["epochs"]
    report = _reporter(context, rates, recorder.save)

    def after_epoch(epoch: int, loss: float) -> None:
        recorder.snapshot()
        report(epoch, loss)

    train(
        recorder.state,
        dataset.train_images,
        dataset.train_labels,
        rates,
        batches,
        Sgd(spec.momentum, spec.weight_decay),
        loss_of=_loss(context, spec, dataset),
        after_epoch=after_epoch,
    )
    save_trajectory(context.output, recorder.snapshots, network, spec.storage)


def _loss(context: StepContext, spec: ExpertSpec, dataset: Dataset) -> Loss:
    if not spec.compile:
        return mean_cross_entropy
    model = _MODEL.validate_python(context.config["model"])
    return compiled_loss(model, dataset.shape, dataset.num_classes, spec.batch_size)


class _Recorder:
    """Collects snapshots, and saves and restores them together with the training state."""

    def __init__(self, context: StepContext, state: TrainingState, network: FlatModel) -> None:
        self.state = state
        self._network = network
        self._state_path = context.partial / STATE_FILE
        self._snapshots_path = context.partial / SNAPSHOTS_FILE
        self.snapshots: list[Tensor] = []
        if self._state_path.exists() and self._snapshots_path.exists():
            self._restore()
        else:
            self.snapshot()
        self.save = PeriodicSave(self._write)

    def snapshot(self) -> None:
        """Copy the parameters: on a CPU ``detach().cpu()`` alone would alias the live network."""
        self.snapshots.append(self._network.flatten(self.state.model).cpu())

    def _write(self) -> None:
        # The snapshots go first: a state without its snapshots could not be continued.
        tensors = {f"{index:05d}": value for index, value in enumerate(self.snapshots)}
        save_tensors(self._snapshots_path, tensors, {})
        self.state.save(self._state_path)

    def _restore(self) -> None:
        self.state.load(self._state_path)
        tensors, _ = load_tensors(self._snapshots_path)
        self.snapshots = [tensors[name] for name in sorted(tensors)][: self.state.epoch + 1]


def _start(context: StepContext, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    config = context.config
    spec = _MODEL.validate_python(config["model"])
    model = random_start(spec, shape, num_classes, config["seed"], config["chain"])
    if "start" in context.inputs:
        FlatModel(model).load(model, load_parameters(context.inputs["start"]))
    return model.to(context.device)


def _reporter(
    context: StepContext, rates: list[float], save: Callable[[], None]
) -> Callable[[int, float], None]:
    def after_epoch(epoch: int, loss: float) -> None:
        context.progress({"fraction": epoch / len(rates), "loss": loss})
        save()

    return after_epoch
