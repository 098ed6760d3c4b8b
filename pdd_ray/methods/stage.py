"""One stage as a step: from experts and earlier stages to U_i, its curves and its pictures."""

from __future__ import annotations

import math
import time
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from torchvision.utils import save_image

from pdd_ray.configuration.method_registry import MethodSpec, read_method
from pdd_ray.core.artifact_files import CURVES, OUTCOME, PICTURE
from pdd_ray.core.files import write_json
from pdd_ray.data.dataset import load_dataset, with_test_split_for_choices
from pdd_ray.data.multi_formation import decode, decode_labels
from pdd_ray.data.synthetic_set import empty_set, load_synthetic_set
from pdd_ray.methods.base import Partial, StageInputs
from pdd_ray.methods.tensorboard import StageWriter
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.registry import ModelSpec, read_network
from pdd_ray.training.expert_features import load_features
from pdd_ray.training.scores import images_in_window, load_scores
from pdd_ray.training.starts import random_start
from pdd_ray.training.trajectories import load_parameters, open_trajectory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.core.identities import Json
    from pdd_ray.core.steps import StepContext
    from pdd_ray.data.dataset import Dataset
    from pdd_ray.data.synthetic_set import SyntheticSet
    from pdd_ray.methods.base import DistillationMethod, StageOutcome


def run(context: StepContext) -> None:
    """Make U_i, with the new set S_i made by the stage's method.

    Inputs: ``data``; ``previous`` (U_{i-1}) for i > 1; ``expert.E`` trajectories; ``held_out.K``
    starts for i > 1; ``bank.K`` transitioned networks for i > 1; ``features``, ``scores`` where the
    method, or a window of difficulty, needs them.
    """
    config = context.config
    spec = read_method(config["method"])
    on_test = config.get("chosen_on") == "test"
    splits = ("train", "test" if on_test else "validation")
    dataset = load_dataset(context.inputs["data"], context.device, splits)
    if on_test:
        dataset = with_test_split_for_choices(dataset)
    window_facts: dict[str, float] = {}
    if "window" in config:
        scores = context.inputs["scores"]
        dataset, window_facts = images_in_window(dataset, scores, config["window"])
    inputs = _stage_inputs(context, dataset, spec)
    with StageWriter(context.tensorboard) as writer:
        writer.hyper_parameters(_hyper_parameters(context))
        observer = _Observer(context, writer, dataset, inputs.images_per_class, spec)
        partial = Partial(context.partial, context.seconds_between_saves)
        outcome = create_method(spec).distill(inputs, partial, observer)
        observer.handed_on(outcome)
    union = extended(inputs.previous, outcome, dataset)
    union.save(context.output)
    facts = {"step_size": outcome.step_size, **outcome.facts, **window_facts}
    write_json(context.output / OUTCOME, {**facts, "stage": union.stages})
    write_json(context.output / CURVES, {k: list(v) for k, v in outcome.curves.items()})
    pixels = union.only(union.stages).pixels
    save_pictures(context.output / PICTURE, pixels, inputs.images_per_class)


def create_method(spec: MethodSpec) -> DistillationMethod:
    """Return the method that ``spec`` configures."""
    method: DistillationMethod = resolve_name(spec.code)(spec)
    return method


def extended(previous: SyntheticSet, outcome: StageOutcome, dataset: Dataset) -> SyntheticSet:
    """Return ``previous`` with the stage that ``outcome`` describes.

    What is kept of a pixel image is in [0, 1]: a frozen image is the saved one to the bit.
    """
    union = previous
    if outcome.previous is not None:
        union = previous.up_to(0)
        for stage in range(1, previous.stages + 1):
            part = previous.stored_stage == stage
            soft = outcome.previous_soft_labels
            union = _with_stage(
                union,
                outcome.previous[part],
                previous.stored_labels[part],
                previous.step_size(stage),
                None if soft is None else soft[part],
                dataset,
            )
    soft = outcome.soft_labels
    return _with_stage(union, outcome.images, outcome.labels, outcome.step_size, soft, dataset)


def _with_stage(
    union: SyntheticSet,
    images: Tensor,
    labels: Tensor,
    step_size: float,
    soft_labels: Tensor | None,
    dataset: Dataset,
) -> SyntheticSet:
    if union.domain == "unit":
        pixels = images.clamp(0, 1)
        ready = dataset.pixels.forward(decode(pixels, union.factor))
        return union.extend(ready, decode_labels(labels, union.factor), pixels, step_size)
    pixels = dataset.pixels.inverse(images)
    return union.extend(images, labels, pixels, step_size, soft_labels)


def save_pictures(path: Path, pixels: Tensor, images_per_class: int) -> None:
    """Write pixel images [N, C, H, W], class by class, as a PNG with one row per class.

    Pixels are clipped to [0, 1] for display, never rescaled.
    """
    save_image(pixels.clamp(0, 1), path, nrow=images_per_class, padding=1, pad_value=0.5)


class _Observer:
    """Passes on what a method tells: to TensorBoard at its rate, to the runtime once a second."""

    def __init__(
        self,
        context: StepContext,
        writer: StageWriter,
        dataset: Dataset,
        images_per_class: int,
        spec: MethodSpec,
    ) -> None:
        self._on_progress = context.progress
        self._writer = writer
        self._dataset = dataset
        self._images_per_class = images_per_class
        self._domain = spec.pixel_domain
        self._last = -math.inf

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        self._writer.scalars(iteration, values)

    def images(self, iteration: int, images: Tensor) -> None:
        images = images.detach().cpu()
        pixels = images if self._domain == "unit" else self._dataset.pixels.inverse(images)
        pixels = pixels.clamp(0, 1)
        self._writer.images(iteration, pixels, self._images_per_class)

    def handed_on(self, outcome: StageOutcome) -> None:
        """Show what the stage hands on, one step after all others."""
        after = len(outcome.curves.get("loss", ())) + 1
        values = {"step_size": outcome.step_size}
        if "validation_accuracy" in outcome.facts:
            values["validation_accuracy"] = outcome.facts["validation_accuracy"]
        self.scalars(after, values)
        self.images(after, outcome.images)

    def progress(self, fraction: float, values: Mapping[str, float]) -> None:
        if time.monotonic() - self._last >= 1.0:
            self._last = time.monotonic()
            self._on_progress({"fraction": fraction, **values})


def _stage_inputs(context: StepContext, dataset: Dataset, spec: MethodSpec) -> StageInputs:
    config, inputs = context.config, context.inputs
    model = read_network(config["model"])
    if "previous" in inputs:
        previous = load_synthetic_set(inputs["previous"])
    else:
        previous = empty_set(
            dataset.shape,
            dataset.classes,
            dataset.pixels.name,
            dataset.fingerprint,
            statistics=_statistics(dataset),
            domain=spec.pixel_domain,
            factor=spec.multi_formation,
        )
    return StageInputs(
        dataset=dataset,
        previous=previous,
        images_per_class=config["images_per_class"],
        model=model,
        experts=[open_trajectory(folder) for folder in _numbered(context, "expert")],
        held_out=_held_out(context, model, dataset),
        bank=[load_parameters(folder) for folder in _numbered(context, "bank")],
        features=load_features(inputs["features"]) if "features" in inputs else None,
        scores=load_scores(inputs["scores"]) if spec.needs_scores else None,
        shards=context.shards,
        seed=config["seed"],
        device=context.device,
    )


def _statistics(dataset: Dataset) -> dict[str, list[float]]:
    """Return what the images were normalised with; whitening matrices stay with the data."""
    tensors = dataset.pixels.tensors()
    return {name: tensors[name].tolist() for name in ("mean", "std") if "std" in tensors}


def _held_out(context: StepContext, model: ModelSpec, dataset: Dataset) -> list[Tensor]:
    """Return theta_i of the held-out chains: their random starts where there is no transition."""
    if folders := _numbered(context, "held_out"):
        return [load_parameters(folder) for folder in folders]
    starts = []
    for chain in context.config.get("held_out", []):
        start = random_start(
            model, dataset.shape, dataset.num_classes, context.config["seed"], chain
        )
        starts.append(FlatModel(start).flatten(start))
    return starts


def _numbered(context: StepContext, name: str) -> list[Path]:
    """Return the inputs ``name.0``, ``name.1``, ... in the order of their numbers."""
    numbers = sorted(int(key.split(".")[1]) for key in context.inputs if key.startswith(f"{name}."))
    return [context.inputs[f"{name}.{number}"] for number in numbers]


def _hyper_parameters(context: StepContext) -> dict[str, Json]:
    """Return the stage's settings as they are; which networks it uses is none of them."""
    return {name: value for name, value in context.config.items() if name != "held_out"}
