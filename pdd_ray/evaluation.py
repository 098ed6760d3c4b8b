"""Evaluation: networks trained on distilled sets, one stage of one network per step.

Progressive evaluation trains one network on U_1, then U_2, ... (mode P of Table 3); each stage is a
step that continues the network of the step before, so that longer evaluations share the work of
shorter ones. Union (U) is one such step with a fresh network on U_P; sequential (S) trains on S_1,
S_2, ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from pdd_ray.data.dataset import load_dataset
from pdd_ray.files import write_json
from pdd_ray.models.factory import create_model
from pdd_ray.seeding import generator
from pdd_ray.specs.model import ModelSpec
from pdd_ray.specs.training import SyntheticTrainingSpec
from pdd_ray.synthetic import load_synthetic_set
from pdd_ray.training import (
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

    from pdd_ray.data.dataset import Dataset
    from pdd_ray.steps import StepContext

STATE_FILE = "state.safetensors"
RESULT_FILE = "result.json"
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
    save = PeriodicSave(lambda: state.save(context.partial / STATE_FILE))

    def after_epoch(epoch: int, loss: float) -> None:
        context.report({"fraction": epoch / len(rates), "loss": loss})
        save()

    train(state, images, labels, rates, batches, sgd_of(training), after_epoch=after_epoch)
    _write_result(context, dataset, state.model, step_size)
    state.epoch = 0
    state.save(context.output / STATE_FILE)


def _first_state(context: StepContext, dataset: Dataset) -> TrainingState:
    """Return the state to start from: own progress, the stage before, or a fresh network."""
    config = context.config
    spec = _MODEL.validate_python(config["model"])
    source = generator(config["seed"], "evaluation", config["network"], "start")
    model = create_model(spec, dataset.shape, dataset.num_classes, source)
    state = TrainingState(model.to(context.device))
    partial = context.partial / STATE_FILE
    if partial.exists():
        state.load(partial)
    elif "previous" in context.inputs:
        state.load(context.inputs["previous"] / STATE_FILE)
        if not config["carry_momentum"]:
            state.buffers = None
    return state


def _write_result(
    context: StepContext, dataset: Dataset, model: nn.Module, step_size: float
) -> None:
    """Write the accuracies after the last epoch; the only place that reads the test split."""
    result = {
        "test_accuracy": accuracy(model, dataset.test_images, dataset.test_labels),
        "validation_accuracy": accuracy(
            model, dataset.validation_images, dataset.validation_labels
        ),
        "test_images": len(dataset.test_labels),
        "step_size": step_size,
    }
    write_json(context.output / RESULT_FILE, result)
