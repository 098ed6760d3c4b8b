"""One stage as a step: from experts and earlier stages to U_i, its curves and its pictures."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from torchvision.utils import save_image

from pdd_ray.data.dataset import load_dataset
from pdd_ray.files import write_json
from pdd_ray.methods.base import Partial, StageInputs
from pdd_ray.methods.trajectory_matching import TrajectoryMatching
from pdd_ray.models.flat import FlatModel
from pdd_ray.selection.random import RandomSelection
from pdd_ray.specs.methods import MethodSpec, TrajectoryMatchingSpec
from pdd_ray.specs.model import ModelSpec
from pdd_ray.starts import random_start
from pdd_ray.synthetic import empty_set, load_synthetic_set
from pdd_ray.tensorboard import StageWriter
from pdd_ray.trajectories import load_parameters, open_trajectory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.data.dataset import Dataset
    from pdd_ray.methods.base import DistillationMethod
    from pdd_ray.steps import StepContext

OUTCOME_FILE = "outcome.json"
CURVES_FILE = "curves.json"
IMAGES_FILE = "images.png"
_MODEL: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)
_METHOD: TypeAdapter[MethodSpec] = TypeAdapter(MethodSpec)


def run(context: StepContext) -> None:
    """Make U_i, with the new set S_i made by the stage's method.

    Inputs: ``data``; ``previous`` (U_{i-1}) for i > 1; ``expert.E`` trajectories; ``held_out.K``
    starts for i > 1.
    """
    config = context.config
    dataset = load_dataset(context.inputs["data"], context.device)
    inputs = _stage_inputs(context, dataset)
    method = create_method(_METHOD.validate_python(config["method"]))
    with StageWriter(context.tensorboard) as writer:
        writer.hyper_parameters(_hyper_parameters(context))
        observer = _Observer(context, writer, dataset, inputs.images_per_class)
        outcome = method.distill(inputs, Partial(context.partial), observer)
    pixels = dataset.pixels.inverse(outcome.images)
    union = inputs.previous.extend(outcome.images, outcome.labels, pixels, outcome.step_size)
    union.save(context.output)
    facts = {"step_size": outcome.step_size, **outcome.facts}
    write_json(context.output / OUTCOME_FILE, {**facts, "stage": union.stages})
    write_json(context.output / CURVES_FILE, {k: list(v) for k, v in outcome.curves.items()})
    save_pictures(context.output / IMAGES_FILE, pixels, inputs.images_per_class)


def create_method(spec: MethodSpec) -> DistillationMethod:
    """Return the method that ``spec`` configures."""
    if isinstance(spec, TrajectoryMatchingSpec):
        return TrajectoryMatching(spec)
    return RandomSelection(spec)


def save_pictures(path: Path, pixels: Tensor, images_per_class: int) -> None:
    """Write pixel images [N, C, H, W], class by class, as a PNG with one row per class.

    Pixels are clipped to [0, 1] for display, never rescaled.
    """
    save_image(pixels.clamp(0, 1), path, nrow=images_per_class, padding=1, pad_value=0.5)


class _Observer:
    """Passes on what a method tells: to TensorBoard at its rate, to the runtime once a second."""

    def __init__(
        self, context: StepContext, writer: StageWriter, dataset: Dataset, images_per_class: int
    ) -> None:
        self._report = context.report
        self._writer = writer
        self._dataset = dataset
        self._images_per_class = images_per_class
        self._last = -math.inf

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        self._writer.scalars(iteration, values)

    def images(self, iteration: int, images: Tensor) -> None:
        pixels = self._dataset.pixels.inverse(images.cpu()).clamp(0, 1)
        self._writer.images(iteration, pixels, self._images_per_class)

    def progress(self, fraction: float, values: Mapping[str, float]) -> None:
        if time.monotonic() - self._last >= 1.0:
            self._last = time.monotonic()
            self._report({"fraction": fraction, **values})


def _stage_inputs(context: StepContext, dataset: Dataset) -> StageInputs:
    config = context.config
    model = _MODEL.validate_python(config["model"])
    if "previous" in context.inputs:
        previous = load_synthetic_set(context.inputs["previous"])
    else:
        preparation = config["preparation"]
        previous = empty_set(dataset.shape, dataset.classes, preparation, dataset.fingerprint)
    return StageInputs(
        dataset=dataset,
        previous=previous,
        images_per_class=config["images_per_class"],
        model=model,
        experts=[open_trajectory(folder) for folder in _numbered(context, "expert")],
        held_out=_held_out(context, model, dataset),
        seed=config["seed"],
        device=context.device,
    )


def _held_out(context: StepContext, model: ModelSpec, dataset: Dataset) -> list[Tensor]:
    """Return theta_i of the held-out chains: their random starts in the first stage."""
    if "previous" in context.inputs:
        return [load_parameters(folder) for folder in _numbered(context, "held_out")]
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


def _hyper_parameters(context: StepContext) -> dict[str, Any]:
    config = context.config
    method = {f"method.{k}": v for k, v in config["method"].items() if not isinstance(v, dict)}
    names = ("seed", "stage", "images_per_class")
    return {"label": context.label, **{name: config[name] for name in names}, **method}
