"""Estimates of work, disk and memory for the steps of a plan, known without torch."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from pdd_ray.configuration.method import TEST_BATCH, StageSize
from pdd_ray.configuration.passes import Pass, forward_passes, training_passes
from pdd_ray.core.steps import Cost
from pdd_ray.core.work import Work
from pdd_ray.models.cost import parameter_count
from pdd_ray.models.size import network_size
from pdd_ray.planning.units import memory_of, work_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.configuration.experiment import ExperimentSpec
    from pdd_ray.configuration.training import SyntheticTrainingSpec
    from pdd_ray.data.facts import DataFacts
    from pdd_ray.models.registry import ModelSpec

FLOAT_BYTES = 4
LEAST_WORK = Work(operators=100, other=1e6)
"""Of every step, whatever is known of it."""
LEAST_OPERATIONS = 1e6
"""The same in operations, by which steps are weighed against each other."""
PROCESS_BYTES = 7e8
"""A worker process with torch loaded."""
CONTEXT_BYTES = 6e8
"""What a process holds on a GPU before it has a tensor there: CUDA's context and libraries."""
SPARE = 1.25
"""Memory that torch's allocator holds, in multiples of what tensors take."""
EIGENVALUES = 18.0
"""Operations of an eigendecomposition in float64, in multiples of the cube of its size: 9 LAPACK's,
at half the speed of float32."""


class Costs:
    """Estimates for the steps of one experiment; each distinct setting is computed once."""

    def __init__(self, spec: ExperimentSpec, facts: DataFacts) -> None:
        self.spec = spec
        self.shape = facts.shape
        self.classes = len(facts.classes)
        self.train = sum(facts.train_counts) * (1 - spec.data.validation_fraction)
        self.validation = sum(facts.train_counts) - self.train
        self.test = sum(facts.test_counts)
        self.network = network_size(spec.model, facts.shape, self.classes)
        self.parameters = self.network.parameters
        self.expert = lru_cache(maxsize=None)(self._expert)
        self.start = lru_cache(maxsize=None)(self._start)
        self.stage = lru_cache(maxsize=None)(self._stage)
        self.evaluation = lru_cache(maxsize=None)(self._evaluation)
        self.full_evaluation = lru_cache(maxsize=None)(self._full_evaluation)
        self.continual_evaluation = lru_cache(maxsize=None)(self._continual_evaluation)

    @property
    def image_bytes(self) -> float:
        """Bytes of one float32 image."""
        return FLOAT_BYTES * math.prod(self.shape)

    @property
    def data_bytes(self) -> float:
        """Bytes of all real images."""
        return (self.train + self.validation + self.test) * self.image_bytes

    def data(self) -> Cost:
        """Estimate preparing the data set."""
        images = self.train + self.validation + self.test
        work = LEAST_WORK + work_of([Pass("preparation", images)], self.network)
        dimensions = math.prod(self.shape)
        if self.spec.data.preprocessing == "zca":
            flops = 2 * (2 * self.train + images) * dimensions**2 + EIGENVALUES * dimensions**3
            work = work + Work(flops=flops)
        disk = images * self.image_bytes
        operations = max(LEAST_OPERATIONS, work.flops)
        memory = PROCESS_BYTES + 3 * disk
        return Cost(operations=operations, disk=disk, memory=memory, work=work)

    def selected_data(self) -> Cost:
        """Estimate taking some classes out of the prepared data set."""
        disk = self.data_bytes
        work = LEAST_WORK + Work(other=4 * disk)
        return Cost(LEAST_OPERATIONS, disk, PROCESS_BYTES + 2 * disk, work)

    def _expert(self, epochs: int) -> Cost:
        """Estimate one trajectory of ``epochs`` epochs."""
        spec = self.spec.experts
        storage = FLOAT_BYTES if spec.storage == "float32" else FLOAT_BYTES / 2
        passes = training_passes(self.train, spec.batch_size, epochs, spec.augmentation)
        return self._cost(
            passes, (epochs + 1) * self.parameters * storage, kept=(epochs + 1) * self.parameters
        )

    def _start(self, stage: int) -> Cost:
        """Estimate one transition to theta_stage."""
        training = self.spec.transition_training()
        passes = _training(training, self._union(stage - 1))
        return self._cost(passes, self.parameters * FLOAT_BYTES, data=0.0)

    def _stage(self, stage: int, class_shards: int = 1) -> Cost:
        """Estimate one stage, the training of its candidates included.

        Each of ``class_shards`` is a process with the data loaded, where the method has them.
        """
        method = self.spec.stage_method(stage)
        decoded = method.multi_formation**2
        size = StageSize(
            self.spec.stages[stage - 1].images_per_class,
            self.classes,
            self._union(stage),
            train=self.train,
            validation=self.validation,
            batch_norm=self.spec.model.has_batch_norm,
        )
        return self._cost(
            method.passes(size),
            (1 + decoded) * size.union / decoded * self.image_bytes,
            kept=method.kept_networks * self.parameters,
            processes=class_shards if method.class_sharded else 1,
        )

    def _evaluation(self, model: ModelSpec, mode: str, stages: int, epochs: int) -> Cost:
        """Estimate one network's training on the set of the last of ``stages`` and its test."""
        images = self._union(stages)
        if mode == "sequential":
            images -= self._union(stages - 1)
        passes = _training(self.spec.evaluation_training(epochs), images)
        return self._tested(passes, model)

    def _full_evaluation(self, model: ModelSpec) -> Cost:
        """Estimate one network's training on all real images and its test."""
        return self._tested(_training(self.spec.evaluation.full_data, self.train), model)

    def _continual_evaluation(self, model: ModelSpec, phase: int, epochs: int) -> Cost:
        """Estimate one network's training on the memory after ``phase``, and its test."""
        continual = self.spec.continual
        if continual is None:
            msg = "there are no phases without continual learning"
            raise ValueError(msg)
        share = phase / continual.phases
        images = self._union(len(self.spec.stages)) * share
        spec = self.spec.evaluation_training(epochs)
        passes = _training(spec, images, len(self.spec.stages))
        if continual.protocol == "B" and phase > 1:
            steps = [each for each in passes if each.unit == "training_step"]
            passes += tuple(Pass("test_batch", each.images, each.count) for each in steps)
        return self._tested(passes, model, share)

    def scores(self) -> Cost:
        """Estimate counting how often each real image is forgotten."""
        spec = self.spec.forgetting
        epochs = spec.runs * spec.epochs
        passes = training_passes(self.train, spec.batch_size, epochs, spec.augmentation)
        return self._cost(passes, self.train * FLOAT_BYTES)

    def features(self) -> Cost:
        """Estimate embedding the real images."""
        disk = self.train * FLOAT_BYTES * self.network.features
        return self._cost(forward_passes(self.train, TEST_BATCH), disk, kept=disk / FLOAT_BYTES)

    def _tested(self, passes: tuple[Pass, ...], model: ModelSpec, share: float = 1.0) -> Cost:
        """Return the cost of a training and its test on ``share`` of the held-out images."""
        held_out = (self.test + self.validation) * share
        parameters = parameter_count(model, self.shape, self.classes)
        return self._cost(
            (*passes, *forward_passes(held_out, TEST_BATCH)),
            2 * FLOAT_BYTES * parameters,
            model=model,
        )

    def _cost(
        self,
        passes: Iterable[Pass],
        disk: float,
        *,
        model: ModelSpec | None = None,
        kept: float = 0.0,
        data: float | None = None,
        processes: int = 1,
    ) -> Cost:
        """Return the cost of ``passes``.

        Args:
            passes: What is computed.
            disk: Bytes of the artifact.
            model: The network, if it is not the experiment's.
            kept: Values that are kept in memory beside the largest pass.
            data: Bytes of images that are loaded; all real ones if not given.
            processes: Processes that hold as much as one.
        """
        passes = tuple(passes)
        network = self.network
        if model is not None:
            network = network_size(model, self.shape, self.classes)
        data = self.data_bytes if data is None else data
        work = LEAST_WORK + work_of(passes, network) + Work(other=2 * data)
        held = memory_of(passes, network) + FLOAT_BYTES * (kept + 3 * network.parameters)
        held = data + SPARE * held
        return Cost(
            operations=max(LEAST_OPERATIONS, work.flops),
            disk=disk,
            memory=processes * (PROCESS_BYTES + held),
            work=work,
            device_memory=processes * (CONTEXT_BYTES + held),
        )

    def _union(self, stages: int) -> int:
        """Return the number of images of U_stages that networks train on."""
        stored = sum(entry.images_per_class for entry in self.spec.stages[:stages])
        return self.classes * stored * self.spec.method.multi_formation**2


def _training(spec: SyntheticTrainingSpec, images: float, times: float = 1.0) -> tuple[Pass, ...]:
    """Return the passes of training as ``spec`` says, ``times`` times."""
    epochs = spec.epochs + (1 if spec.schedule == "drop" else 0)
    return training_passes(
        images,
        spec.batch_size,
        epochs * times,
        spec.augmentation,
        spec.augmentation_rule,
        spec.cutmix,
    )
