"""Evaluation: networks trained on distilled sets, one stage of one network per step.

Progressive evaluation trains one network on U_1, then U_2, ... (mode P of Table 3); each stage is a
step that continues the network of the step before, so that longer evaluations share the work of
shorter ones. Union (U) is one such step with a fresh network on U_P; sequential (S) trains on S_1,
S_2, ...
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from pdd_ray.configuration.training import FullDataSpec, SyntheticTrainingSpec
from pdd_ray.core.artifact_files import RESULT, TRAINED_NETWORK, TRAINING_CURVE
from pdd_ray.core.files import write_json
from pdd_ray.core.seeding import generator
from pdd_ray.data.dataset import load_dataset
from pdd_ray.data.synthetic_set import load_synthetic_set
from pdd_ray.models.factory import create_model
from pdd_ray.models.registry import ModelSpec
from pdd_ray.training.loop import (
    PeriodicSave,
    TrainingState,
    accuracy,
    learning_rates,
    recipe_batches,
    sgd_of,
    train,
)

if TYPE_CHECKING:
    from torch import nn

    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.dataset import Dataset

_MODEL: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)


def run(context: StepContext) -> None:
    """Train one network on the set of one stage and test it after the last epoch.

    Inputs: ``data``, ``stage`` (U_p) and, where the network continues, ``previous``.
    """
    config = context.config
    training = SyntheticTrainingSpec.model_validate(config["training"])
    dataset = load_dataset(context.inputs["data"], context.device)
    union = load_synthetic_set(context.inputs["stage"])
    chosen = union if config["subset"] == "union" else union.only(union.stages)
    images, labels = chosen.images.to(context.device), chosen.targets.to(context.device)
    state = _first_state(context, dataset)
    step_size = union.step_size(union.stages)
    rates = learning_rates(training, step_size)
    names = ("evaluation", config["network"], "stage", union.stages)
    batches = recipe_batches(images, training, config["seed"], *names)
    save = PeriodicSave(lambda: state.save(context.partial / TRAINED_NETWORK))

    watch = _Watch(context, dataset, state.model, len(rates))

    def after_epoch(epoch: int, loss: float) -> None:
        context.progress({"fraction": epoch / len(rates), "loss": loss})
        watch(epoch)
        save()

    train(state, images, labels, rates, batches, sgd_of(training), after_epoch=after_epoch)
    _write_result(context, dataset, state.model, step_size, watch)
    state.epoch = 0
    state.save(context.output / TRAINED_NETWORK)


def run_full(context: StepContext) -> None:
    """Train one network on all real training images and test it after the last epoch.

    Input: ``data``.
    """
    config = context.config
    training = FullDataSpec.model_validate(config["training"])
    dataset = load_dataset(context.inputs["data"], context.device)
    images, labels = dataset.train_images, dataset.train_labels
    state = _first_state(context, dataset)
    rates = learning_rates(training, training.learning_rate)
    names = ("evaluation", config["network"], "full")
    batches = recipe_batches(images, training, config["seed"], *names)
    save = PeriodicSave(lambda: state.save(context.partial / TRAINED_NETWORK))

    def after_epoch(epoch: int, loss: float) -> None:
        context.progress({"fraction": epoch / len(rates), "loss": loss})
        save()

    train(state, images, labels, rates, batches, sgd_of(training), after_epoch=after_epoch)
    _write_result(context, dataset, state.model, training.learning_rate)


def _first_state(context: StepContext, dataset: Dataset) -> TrainingState:
    """Return the state to start from: own progress, the stage before, or a fresh network."""
    config = context.config
    spec = _MODEL.validate_python(config["model"])
    source = generator(config["seed"], "evaluation", config["network"], "start")
    model = create_model(spec, dataset.shape, dataset.num_classes, source)
    state = TrainingState(model.to(context.device))
    partial = context.partial / TRAINED_NETWORK
    if partial.exists():
        state.load(partial)
    elif "previous" in context.inputs:
        state.load(context.inputs["previous"] / TRAINED_NETWORK)
        if not config["carry_momentum"]:
            state.buffers = None
    return state


class _Watch:
    """Looks at a network while it is trained, at evenly spaced epochs.

    Accuracy on the validation slice goes to a curve. Under the protocol of the original codes, the
    best of several tests is kept, the last epoch's among them.
    """

    def __init__(
        self, context: StepContext, dataset: Dataset, model: nn.Module, epochs: int
    ) -> None:
        self._dataset = dataset
        self._model = model
        self._path = context.partial / TRAINING_CURVE
        self._seen = evenly_spaced(epochs, context.config.get("curve_points", 0))
        self._tested = evenly_spaced(epochs, context.config.get("tests", 1))
        self.points: dict[str, dict[str, float]] = {"validation_accuracy": {}, "test_accuracy": {}}
        if self._path.exists():
            self.points = json.loads(self._path.read_text(encoding="utf-8"))

    def __call__(self, epoch: int) -> None:
        """Look after ``epoch`` epochs, if it is time."""
        data = self._dataset
        if epoch in self._seen:
            found = accuracy(self._model, data.validation_images, data.validation_labels)
            self.points["validation_accuracy"][str(epoch)] = found
        if epoch in self._tested and len(self._tested) > 1:
            found = accuracy(self._model, data.test_images, data.test_labels)
            self.points["test_accuracy"][str(epoch)] = found
        if any(str(epoch) in points for points in self.points.values()):
            write_json(self._path, self.points)

    @property
    def best_test(self) -> float | None:
        """The best of several tests; None if there is only that after the last epoch."""
        return max(self.points["test_accuracy"].values(), default=None)

    def curve(self) -> dict[str, list[float]] | None:
        """Return epochs and accuracies on the validation slice, if they were asked for."""
        points = self.points["validation_accuracy"]
        if not points:
            return None
        return {"epochs": [int(e) for e in points], "validation_accuracy": list(points.values())}


def evenly_spaced(epochs: int, points: int) -> frozenset[int]:
    """Return up to ``points`` of the epochs 1 .. ``epochs``, evenly spaced, the last among them."""
    return frozenset(max(1, round(epochs * (k + 1) / points)) for k in range(points))


def tested(model: nn.Module, dataset: Dataset, step_size: float) -> dict[str, float]:
    """Return the accuracies of ``model`` on both held-out splits, as results have them."""
    return {
        "test_accuracy": accuracy(model, dataset.test_images, dataset.test_labels),
        "validation_accuracy": accuracy(
            model, dataset.validation_images, dataset.validation_labels
        ),
        "test_images": len(dataset.test_labels),
        "step_size": step_size,
    }


def _write_result(
    context: StepContext,
    dataset: Dataset,
    model: nn.Module,
    step_size: float,
    watch: _Watch | None = None,
) -> None:
    """Write the accuracies after the last epoch; the only place that reads the test split.

    Under the protocol of the original codes the test accuracy is the best of several tests.
    """
    result = tested(model, dataset, step_size)
    if watch and watch.best_test is not None:
        result |= {
            "last_test_accuracy": result["test_accuracy"],
            "test_accuracy": watch.best_test,
        }
    write_json(context.output / RESULT, result)
    if watch and (curve := watch.curve()):
        write_json(context.output / TRAINING_CURVE, curve)
