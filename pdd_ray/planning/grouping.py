"""How many networks one process trains at once: by the device, and by how much a step computes.

A GPU gains where the CPU launches a training step of one network more slowly than the GPU computes
it: then several networks, whose launches are those of about one, take no longer than one. Nothing
of this is part of a key.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from pdd_ray.models.cost import forward_operations
from pdd_ray.planning.compiling import TRAINING_STEP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_ray.configuration.experiment import ExperimentSpec, ResourcesSpec
    from pdd_ray.core.identities import Json
    from pdd_ray.models.plan import Shape
    from pdd_ray.models.registry import ModelSpec

LAUNCH_BOUND_OPERATIONS = 1e10
"""Operations that a GPU does while a training step is launched: some 100 launches of 10 us each, at
10 TFLOP/s, which convolutions in float32 reach on a GPU of 2020 and later."""
PLAIN = {"compile": False, "precision": "float32", "channels_last": False}
"""How experts are trained that can be trained at once; others are computed in ways of their own."""
MOST_NETWORKS = 8
"""Trained at once where nothing else is asked for: what is kept in memory grows with them."""


def group_size(resources: ResourcesSpec, kind: str, operations: float) -> int:
    """Return how many steps of ``kind`` are computed at once, at most.

    Args:
        resources: What steps hold.
        kind: Entry of the resources.
        operations: Of one training step of one network.
    """
    entry = getattr(resources, kind)
    if entry.group != "auto":
        return int(entry.group)
    if not entry.gpus or resources.device == "cpu":
        return 1
    return max(1, min(MOST_NETWORKS, int(LAUNCH_BOUND_OPERATIONS / max(operations, 1.0))))


class Grouping:
    """The sizes of groups in one experiment.

    Args:
        spec: The experiment.
        resources: What its steps hold.
        shape: (C, H, W) of the images.
        classes: Number of classes.
    """

    def __init__(
        self, spec: ExperimentSpec, resources: ResourcesSpec, shape: Shape, classes: int
    ) -> None:
        self._spec = spec
        self._resources = resources
        self._shape = shape
        self._classes = classes
        self._size = lru_cache(maxsize=None)(self._uncached_size)

    def expert(self, identity: Mapping[str, Json]) -> int:
        """Return how many experts of a stage are trained at once, by how each is trained."""
        if any(identity.get(name, usual) != usual for name, usual in PLAIN.items()):
            return 1
        return self._size("expert", self._spec.model, self._spec.experts.batch_size)

    def start(self, stage: int) -> int:
        """Return how many transitions to ``stage`` are trained at once."""
        images = min(self._spec.transition_training().batch_size, self._stored(0, stage - 1))
        return self._size("start", self._spec.model, images)

    def evaluation(self, model: ModelSpec, mode: str, stages: int, epochs: int) -> int:
        """Return how many networks are trained at once on the set of a stage."""
        first = stages - 1 if mode == "sequential" else 0
        batch_size = self._spec.evaluation_training(epochs).batch_size
        images = min(batch_size, self._stored(first, stages))
        return self._size("evaluation", model, images)

    def full_evaluation(self, model: ModelSpec) -> int:
        """Return how many networks are trained at once on all real images."""
        return self._size("evaluation", model, self._spec.evaluation.full_data.batch_size)

    def _uncached_size(self, kind: str, model: ModelSpec, images: int) -> int:
        if self._spec.deterministic:
            return 1  # bytes are promised there
        forward = forward_operations(model, self._shape, self._classes)
        return group_size(self._resources, kind, images * TRAINING_STEP * forward)

    def _stored(self, first: int, last: int) -> int:
        """Return the number of images of the stages after ``first`` up to ``last``."""
        per_class = sum(entry.images_per_class for entry in self._spec.stages[first:last])
        return self._classes * per_class * self._spec.method.multi_formation**2
