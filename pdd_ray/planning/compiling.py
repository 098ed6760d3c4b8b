"""What ``compile: auto`` becomes in a step: true where compiling saves more than it costs.

Compiling takes the same time however long a step is: about half a minute for a training step, one
to two minutes for second derivatives, in every process that computes such a step. What it saves
grows with the step. On a CPU it is a part of the arithmetic's time, since fused operations read
the images' features fewer times; on a GPU it is the starting of kernels, so it goes by the number
of calls. Only where it saves twice what it costs is it taken: estimates are no better than that.

The answer is part of a step's key, so what it is made of must not change: the number of passes
that a method says of itself, the arithmetic of its network, and the constants below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pdd_ray.configuration.method import StageSize
from pdd_ray.models.cost import forward_operations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_ray.configuration.experiment import ExperimentSpec, ResourcesSpec, StepResources
    from pdd_ray.core.steps import Step
    from pdd_ray.data.facts import DataFacts

COMPILING_A_TRAINING_STEP: Final = 30.0
COMPILING_SECOND_DERIVATIVES: Final = 90.0
"""Seconds, rounded up from a ConvNet of depth 3 on a loaded machine; not measured for others."""
MARGIN: Final = 2.0
"""Times the cost that has to be saved."""
TRAINING_STEP: Final = 3.0
FORWARD_PASSES: Final[Mapping[str, float]] = {
    "matching_step": 12.0,
    "tesla_step": 12.0,
    "dc_gradient": 3.0,
    "dc_distance": 9.0,
    "idc_gradient": 3.0,
    "idc_distance": 9.0,
    "dm_embedding": 1.0,
    "dm_gradient": 3.0,
    "cafe_features": 1.0,
    "cafe_gradient": 3.0,
}
"""Passes of an image, forwards, that take as long as a training step of it, and as each unit that
methods compile (:mod:`pdd_ray.configuration.passes`)."""
OPERATIONS_PER_SECOND: Final = 6e10
"""What a core does uncompiled, about."""
SAVED_OF_ARITHMETIC: Final = 0.15
"""The part of an uncompiled step's time on a CPU that compiling saves: between the 24 (width 32)
and 7 per cent (width 128) that were measured of experts, and the 18 of MTT at width 32."""
SAVED_OF_LAUNCHES: Final = {"training": 0.3e-3, "second derivatives": 1e-3}
"""Seconds that each call saves on a GPU: 60 and 200 kernels that need not be started, 5
microseconds each. No GPU has been measured."""


def expert_is_compiled(
    spec: ExperimentSpec, facts: DataFacts, resources: ResourcesSpec, epochs: int
) -> bool:
    """Return whether the training step of an expert of ``epochs`` epochs is compiled."""
    choice = spec.experts.compile
    if choice != "auto":
        return choice
    images = sum(facts.train_counts) * (1 - spec.data.validation_fraction) * epochs
    forward = forward_operations(spec.model, facts.shape, len(facts.classes))
    saved = _saved(
        images * TRAINING_STEP * forward,
        images / spec.experts.batch_size * SAVED_OF_LAUNCHES["training"],
        on_gpu=_on_gpu(resources, resources.expert),
    )
    return saved >= MARGIN * COMPILING_A_TRAINING_STEP


def stage_is_compiled(
    spec: ExperimentSpec, facts: DataFacts, resources: ResourcesSpec, stage: int
) -> bool:
    """Return whether the derivatives of the method in ``stage`` (1-based) are compiled."""
    method = spec.stage_method(stage)
    choice = getattr(method, "compile", False)
    if choice != "auto":
        return bool(choice)
    classes = len(facts.classes)
    sizes = [entry.images_per_class for entry in spec.stages[:stage]]
    union = sum(sizes) * classes * method.multi_formation**2
    size = StageSize(sizes[-1], classes, union, batch_norm=spec.model.has_batch_norm)
    calls = method.derivatives(size)
    if not calls:
        return False  # nothing of it can be compiled
    passes = sum(
        FORWARD_PASSES.get(each.unit, 0.0) * each.images * each.count
        for each in method.passes(size)
    )
    saved = _saved(
        passes * forward_operations(spec.model, facts.shape, classes),
        calls * SAVED_OF_LAUNCHES["second derivatives"],
        on_gpu=_on_gpu(resources, resources.stage),
    )
    return saved >= MARGIN * COMPILING_SECOND_DERIVATIVES


def is_compiled(step: Step) -> bool | None:
    """Return whether ``step`` compiles its code; None if it never does."""
    for part in ("method", "expert"):
        config = step.config.get(part)
        if isinstance(config, dict) and isinstance(config.get("compile"), bool):
            return bool(config["compile"])
    return None


def _saved(operations: float, launching: float, *, on_gpu: bool) -> float:
    """Return the seconds that compiling saves."""
    return launching if on_gpu else operations / OPERATIONS_PER_SECOND * SAVED_OF_ARITHMETIC


def _on_gpu(resources: ResourcesSpec, entry: StepResources) -> bool:
    return resources.device == "cuda" or (resources.device == "auto" and entry.gpus > 0)
