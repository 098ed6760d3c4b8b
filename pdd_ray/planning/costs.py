"""Estimates of operations, disk and memory for plans, known without torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pdd_ray.configuration.method import FORWARD_BACKWARD, StageSize
from pdd_ray.core.steps import Cost
from pdd_ray.models.cost import forward_operations, parameter_count

if TYPE_CHECKING:
    from pdd_ray.configuration.experiment import ExperimentSpec
    from pdd_ray.data.facts import DataFacts
    from pdd_ray.models.registry import ModelSpec

FLOAT_BYTES = 4
LEAST_OPERATIONS = 1e6
"""Of a stage, whatever its method says of itself."""
PROCESS_BYTES = 7e8
"""A worker process with torch loaded."""
ACTIVATION_COPIES = 12.0
"""Activations, gradients and graph of a double backward, in copies of the feature maps."""


class Costs:
    """Estimates for the steps of one experiment."""

    def __init__(self, spec: ExperimentSpec, facts: DataFacts) -> None:
        self.spec = spec
        self.shape = facts.shape
        self.classes = len(facts.classes)
        self.train = sum(facts.train_counts) * (1 - spec.data.validation_fraction)
        self.test = sum(facts.test_counts) + sum(facts.train_counts) - self.train
        self.forward = forward_operations(spec.model, facts.shape, self.classes)
        self.parameters = parameter_count(spec.model, facts.shape, self.classes)

    @property
    def image_bytes(self) -> float:
        """Bytes of one float32 image."""
        return FLOAT_BYTES * math.prod(self.shape)

    def data(self) -> Cost:
        """Estimate preparing the data set."""
        images = self.train + self.test
        dimensions = math.prod(self.shape)
        whitening = self.train * dimensions**2 if self.spec.data.preprocessing == "zca" else 0.0
        disk = images * self.image_bytes
        return Cost(operations=images * dimensions * 10 + 2 * whitening, disk=disk, memory=3 * disk)

    def expert(self, epochs: int) -> Cost:
        """Estimate one trajectory of ``epochs`` epochs."""
        storage = FLOAT_BYTES if self.spec.experts.storage == "float32" else FLOAT_BYTES / 2
        return Cost(
            operations=epochs * self.train * FORWARD_BACKWARD * self.forward,
            disk=(epochs + 1) * self.parameters * storage,
            memory=self._memory(self.spec.experts.batch_size, self.forward),
        )

    def start(self, stage: int) -> Cost:
        """Estimate one transition to theta_stage."""
        transition = self.spec.transition_training()
        images = self._union(stage - 1)
        return Cost(
            operations=(transition.epochs + 1) * images * FORWARD_BACKWARD * self.forward,
            disk=self.parameters * FLOAT_BYTES,
            memory=self._memory(min(images, transition.batch_size), self.forward),
        )

    def stage(self, stage: int, class_shards: int = 1) -> Cost:
        """Estimate one stage, the training of its candidates included.

        Each of ``class_shards`` is a process with the data loaded, where the method has them.
        """
        method = self.spec.stage_method(stage)
        decoded = method.multi_formation**2
        per_class = self.spec.stages[stage - 1].images_per_class
        size = StageSize(per_class, self.classes, self._union(stage))
        memory = self._memory(
            method.images_at_once(size), self.forward, class_shards if method.class_sharded else 1
        )
        return Cost(
            operations=max(LEAST_OPERATIONS, method.forward_passes(size) * self.forward),
            disk=(1 + decoded) * size.union / decoded * self.image_bytes,
            memory=memory + method.kept_networks * self.parameters * FLOAT_BYTES,
        )

    def evaluation(self, model: ModelSpec, mode: str, stages: int, epochs: int) -> Cost:
        """Estimate one network's training on the set of the last of ``stages`` and its test."""
        forward = forward_operations(model, self.shape, self.classes)
        images = self._union(stages)
        if mode == "sequential":
            images -= self._union(stages - 1)
        training = (epochs + 1) * images * FORWARD_BACKWARD
        batch_size = self.spec.evaluation_training(epochs).batch_size
        return Cost(
            operations=(training + self.test) * forward,
            disk=2 * FLOAT_BYTES * parameter_count(model, self.shape, self.classes),
            memory=self._memory(min(images, batch_size), forward),
        )

    def full_evaluation(self, model: ModelSpec) -> Cost:
        """Estimate one network's training on all real images and its test."""
        forward = forward_operations(model, self.shape, self.classes)
        training = self.spec.evaluation.full_data
        images = (training.epochs + 1) * self.train * FORWARD_BACKWARD + self.test
        return Cost(
            operations=images * forward,
            disk=2 * FLOAT_BYTES * parameter_count(model, self.shape, self.classes),
            memory=self._memory(training.batch_size, forward),
        )

    def continual_evaluation(self, model: ModelSpec, phase: int, epochs: int) -> Cost:
        """Estimate one network's training on the memory after ``phase``, and its test."""
        continual = self.spec.continual
        if continual is None:
            msg = "there are no phases without continual learning"
            raise ValueError(msg)
        forward = forward_operations(model, self.shape, self.classes)
        share = phase / continual.phases
        teacher = 1 if continual.protocol == "B" else 0
        passes = (epochs + 1) * (FORWARD_BACKWARD + teacher) * len(self.spec.stages)
        images = self._union(len(self.spec.stages)) * share
        training = self.spec.evaluation_training(epochs)
        return Cost(
            operations=(images * passes + self.test * share) * forward,
            disk=FLOAT_BYTES * parameter_count(model, self.shape, self.classes),
            memory=self._memory(min(images, training.batch_size), forward),
        )

    def scores(self) -> Cost:
        """Estimate counting how often each real image is forgotten."""
        spec = self.spec.forgetting
        return Cost(
            operations=spec.runs * spec.epochs * self.train * FORWARD_BACKWARD * self.forward,
            disk=self.train * FLOAT_BYTES,
            memory=self._memory(spec.batch_size, self.forward),
        )

    def features(self) -> Cost:
        """Estimate embedding the real images."""
        disk = self.train * FLOAT_BYTES * self.spec.model.plan(self.shape).features
        return Cost(operations=self.train * self.forward, disk=disk, memory=PROCESS_BYTES + disk)

    def _union(self, stages: int) -> int:
        """Return the number of images of U_stages that networks train on."""
        stored = sum(entry.images_per_class for entry in self.spec.stages[:stages])
        return self.classes * stored * self.spec.method.multi_formation**2

    def _memory(self, batch: float, forward: float, processes: int = 1) -> float:
        """Estimate the memory of ``processes`` that compute on ``batch`` images each.

        Feature maps are taken from the operations: a 3x3 convolution of width w makes 18 w
        operations per value.
        """
        width = getattr(self.spec.model, "width", 64)
        feature_maps = forward / (18 * width) * FLOAT_BYTES
        data = (self.train + self.test) * self.image_bytes
        return processes * (PROCESS_BYTES + data + batch * feature_maps * ACTIVATION_COPIES)
