"""The evaluation steps: networks trained on distilled sets, or on all real images, and tested.

Progressive evaluation trains one network on U_1, then U_2, ... (mode P of Table 3); each stage is a
step that continues the network of the step before, so that longer evaluations share the work of
shorter ones. Union (U) is one such step with a fresh network on U_P; sequential (S) trains on S_1,
S_2, ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.configuration.training import FullDataSpec, SyntheticTrainingSpec
from pdd_ray.core.artifact_files import RESULT, TRAINED_NETWORK, TRAINING_CURVE
from pdd_ray.core.files import write_json
from pdd_ray.core.seeding import generator
from pdd_ray.core.transfers import moved_network
from pdd_ray.data.dataset import HELD_OUT, load_dataset
from pdd_ray.data.synthetic_set import load_synthetic_set
from pdd_ray.models.factory import create_model
from pdd_ray.models.registry import read_network
from pdd_ray.training.loop import (
    TrainingState,
    accuracy,
    learning_rates,
    recipe_batches,
    sgd_of,
)
from pdd_ray.training.resumable import Training
from pdd_ray.training.together import Request, run_alone, run_together

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from torch import Tensor, nn

    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.dataset import Dataset


def run(context: StepContext) -> None:
    """Train one network on the set of one stage and test it after the last epoch.

    Inputs: ``data``, ``stage`` (U_p) and, where the network continues, ``previous``.
    """
    run_alone(_evaluated, context)


def run_several(contexts: Sequence[StepContext]) -> None:
    """Do :func:`run` for several networks on the same set, trained at once."""
    run_together(_evaluated, contexts)


def run_full(context: StepContext) -> None:
    """Train one network on all real training images and test it after the last epoch.

    Input: ``data``.
    """
    run_alone(_evaluated_full, context)


def run_full_several(contexts: Sequence[StepContext]) -> None:
    """Do :func:`run_full` for several networks, trained at once."""
    run_together(_evaluated_full, contexts)


def _evaluated(context: StepContext) -> Generator[Request]:
    config = context.config
    training = SyntheticTrainingSpec.model_validate(config["training"])
    dataset = load_dataset(context.inputs["data"], context.device, HELD_OUT)
    union = load_synthetic_set(context.inputs["stage"])
    chosen = union if config["subset"] == "union" else union.only(union.stages)
    images, labels = chosen.images.to(context.device), chosen.targets.to(context.device)
    state = _first_state(context, dataset)
    step_size = union.step_size(union.stages)
    rates = learning_rates(training, step_size)
    names = ("evaluation", config["network"], "stage", union.stages)
    batches = recipe_batches(images, training, config["seed"], *names)
    accuracies = _Accuracies(
        dataset, state.model, len(rates), config.get("curve_points", 0), config.get("tests", 1)
    )
    on_set = Training(images, labels, rates, batches, sgd_of(training))
    yield Request(context, state, on_set, accuracies)
    _write_result(context, dataset, state.model, step_size, accuracies)
    state.epoch = 0
    state.save(context.output / TRAINED_NETWORK)


def _evaluated_full(context: StepContext) -> Generator[Request]:
    config = context.config
    training = FullDataSpec.model_validate(config["training"])
    dataset = load_dataset(context.inputs["data"], context.device)
    images, labels = dataset.train_images, dataset.train_labels
    state = _first_state(context, dataset)
    rates = learning_rates(training, training.learning_rate)
    names = ("evaluation", config["network"], "full")
    batches = recipe_batches(images, training, config["seed"], *names)
    on_real = Training(images, labels, rates, batches, sgd_of(training))
    yield Request(context, state, on_real)
    _write_result(context, dataset, state.model, training.learning_rate)


def _first_state(context: StepContext, dataset: Dataset) -> TrainingState:
    """Return the state to start from: that after the stage before, or a fresh network."""
    config = context.config
    spec = read_network(config["model"])
    source = generator(config["seed"], "evaluation", config["network"], "start")
    model = create_model(spec, dataset.shape, dataset.num_classes, source)
    state = TrainingState(moved_network(model, context.device))
    if "previous" in context.inputs:
        state.load(context.inputs["previous"] / TRAINED_NETWORK)
        if not config["carry_momentum"]:
            state.buffers = None
    return state


class _Accuracies:
    """Accuracies of a network while it is trained, at evenly spaced epochs.

    Those on the validation slice are a curve. Under the protocol of the original codes, the best of
    several tests is kept, the last epoch's among them.
    """

    def __init__(
        self, dataset: Dataset, model: nn.Module, epochs: int, curve_points: int, tests: int
    ) -> None:
        self._dataset = dataset
        self._model = model
        self._validated = evenly_spaced(epochs, curve_points)
        self._tested = evenly_spaced(epochs, tests) if tests > 1 else frozenset[int]()
        self._found: dict[str, dict[int, float]] = {"validation": {}, "test": {}}

    def after_epoch(self, epoch: int) -> None:
        data = self._dataset
        if epoch in self._validated:
            found = accuracy(self._model, data.validation_images, data.validation_labels)
            self._found["validation"][epoch] = found
        if epoch in self._tested:
            found = accuracy(self._model, data.test_images, data.test_labels)
            self._found["test"][epoch] = found

    def tensors(self) -> Mapping[str, Tensor]:
        epochs = {
            f"{split}.epochs": torch.tensor([*v], dtype=torch.int64)
            for split, v in self._found.items()
        }
        values = {
            f"{split}.accuracies": torch.tensor([*v.values()], dtype=torch.float64)
            for split, v in self._found.items()
        }
        return epochs | values

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for split in self._found:
            epochs, values = tensors[f"{split}.epochs"], tensors[f"{split}.accuracies"]
            self._found[split] = dict(zip(map(int, epochs), values.tolist(), strict=True))

    @property
    def best_test(self) -> float | None:
        """The best of several tests; None if there is only that after the last epoch."""
        return max(self._found["test"].values(), default=None)

    def curve(self) -> dict[str, list[int] | list[float]] | None:
        """Return epochs and accuracies on the validation slice, if they were asked for."""
        found = self._found["validation"]
        return {"epochs": [*found], "validation_accuracy": [*found.values()]} if found else None


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
    accuracies: _Accuracies | None = None,
) -> None:
    """Write the accuracies after the last epoch; the only place that reads the test split.

    Under the protocol of the original codes the test accuracy is the best of several tests.
    """
    result = tested(model, dataset, step_size)
    if accuracies and accuracies.best_test is not None:
        result |= {
            "last_test_accuracy": result["test_accuracy"],
            "test_accuracy": accuracies.best_test,
        }
    write_json(context.output / RESULT, result)
    if accuracies and (curve := accuracies.curve()):
        write_json(context.output / TRAINING_CURVE, curve)
