"""DC and DSA, the distillation methods: gradient matching with networks that are trained between.

Specification of other methods, sections 1 and 5.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.core.seeding import generator
from pdd_ray.core.transfers import moved
from pdd_ray.methods.class_matching import ClassTask
from pdd_ray.methods.drawn_networks import distill_by_draws, drawn_model, outcome_of
from pdd_ray.methods.gradient_distance import dc_distance
from pdd_ray.methods.gradient_matching import GradientMatcher
from pdd_ray.methods.initial import class_members, first_images, random_members
from pdd_ray.methods.shards import sharded
from pdd_ray.methods.stage_images import stage_images_of
from pdd_ray.models.compiled import compiled_loss
from pdd_ray.models.flat import FlatModel
from pdd_ray.training.augmentation.rules import draw_augmentation
from pdd_ray.training.loop import Sgd, TrainingState, mean_cross_entropy, random_batches, train

if TYPE_CHECKING:
    from torch import Tensor

    from pdd_ray.configuration.methods.gradient_matching import DcSpec
    from pdd_ray.methods.base import Observer, Partial, StageInputs, StageOutcome
    from pdd_ray.methods.drawn_networks import DrawState
    from pdd_ray.methods.shards import Matcher
    from pdd_ray.training.loop import Loss

STATISTICS_IMAGES = 16
"""Real images per class from which batch norm gets its statistics."""
MOMENTUM_OF_STATISTICS = {"batch": 1.0, "one_momentum_step": 0.1}


class Dc:
    """The method of one stage: matches gradients along the training on the images themselves."""

    def __init__(self, spec: DcSpec) -> None:
        self.spec = spec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the new images of stage ``inputs.stage``; see DistillationMethod."""
        stage = _Stage(self.spec, inputs)
        with sharded(stage.matcher, inputs.shards) as stage.matcher:
            state = distill_by_draws(
                self.spec.iterations, stage.first_images(), stage.use, inputs, partial, observer
            )
        return outcome_of(state, stage.stage_images, inputs, self.spec.step_size)


def batch_norm_statistics(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return the running means and variances of ``model`` after one pass over ``images``, by name.

    They move from their present values by the momentum of the batch norms, in ``model`` too.
    """
    with torch.no_grad():
        model.train()(images)
    return {
        name: value.clone() for name, value in model.named_buffers() if value.is_floating_point()
    }


class _Stage:
    """Makes the images of one stage."""

    def __init__(self, spec: DcSpec, inputs: StageInputs) -> None:
        self.spec = spec
        self.inputs = inputs
        self.names = ("stage", inputs.stage)
        self.stage_images = stage_images_of(inputs, spec)
        self.outer_loop, self.inner_loop = spec.loops(inputs.images_per_class)
        dataset = inputs.dataset
        self.members = class_members(dataset)
        self.real = dataset.train_images.to(inputs.device)
        self.matcher: Matcher[...] = GradientMatcher(
            inputs.model,
            len(self),
            self.real,
            self.stage_images.frozen,
            self.stage_images.frozen_labels,
            dc_distance(spec.distance),
            compile=spec.compiled,
        )

    def __len__(self) -> int:
        """Return the number of classes."""
        return self.inputs.dataset.num_classes

    def first_images(self) -> Tensor:
        """Return what is optimised, at the start."""
        inputs, size = self.inputs, self.inputs.images_per_class
        names = (*self.names, "initial")
        first = first_images(self.spec.initialisation, inputs.dataset, size, inputs.seed, *names)
        return self.stage_images.first(first)

    def use(self, state: DrawState) -> dict[str, float]:
        """Update the images along the training of the network ``state.draw``."""
        model = self._network(state.draw)
        losses = []
        for outer in range(self.outer_loop):
            losses.append(self._update(state, model, outer))
            if not math.isfinite(losses[-1]):
                break
            if outer < self.outer_loop - 1 and self.inner_loop:
                self._train(state, model, outer)
        return {"loss": sum(losses) / len(losses)}

    def _network(self, draw: int) -> nn.Module:
        model = drawn_model(self.inputs, draw)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = MOMENTUM_OF_STATISTICS[self.spec.batch_norm_statistics]
        return model

    def _update(self, state: DrawState, model: nn.Module, outer: int) -> float:
        """Make one step of the images of all classes, and return the mean loss of a class."""
        statistics = self._statistics(model, state.draw, outer)
        tasks = [self._task(state, label, outer) for label in range(len(self))]
        matches = self.matcher.match(FlatModel(model).flatten(model), tasks, statistics)
        gradient = self.stage_images.gathered([match.gradient for match in matches])
        rates = self.spec.image_learning_rate * self.stage_images.rates
        state.descend(gradient, rates, self.spec.momentum)
        return float(torch.stack([match.loss for match in matches]).mean())

    def _task(self, state: DrawState, label: int, outer: int) -> ClassTask:
        source = self._source("matching", state.draw, outer, label)
        _, height, width = self.inputs.dataset.shape
        real = random_members(self.members[label], self.spec.real_batch_size, source)
        augmentation = draw_augmentation(
            "dsa", self.spec.augmentation, len(real), height, width, source, shared=True
        )
        return ClassTask(label, real, state.images[self.stage_images.members(label)], augmentation)

    def _statistics(self, model: nn.Module, draw: int, outer: int) -> dict[str, Tensor] | None:
        if not self.inputs.model.has_batch_norm:
            return None
        sources = [self._source("statistics", draw, outer, label) for label in range(len(self))]
        chosen = [
            random_members(members, STATISTICS_IMAGES, source)
            for members, source in zip(self.members, sources, strict=True)
        ]
        rows = moved(torch.cat(chosen), self.real.device)
        return batch_norm_statistics(model, self.real[rows])

    def _train(self, state: DrawState, model: nn.Module, outer: int) -> None:
        """Train the network on the union of frozen and present images."""
        spec, stage_images = self.spec, self.stage_images
        images = torch.cat([stage_images.frozen, state.images])
        labels = torch.cat([stage_images.frozen_labels, stage_images.labels])
        names = (*self.names, "network", state.draw, "epochs", outer)
        batches = random_batches(
            images, spec.network_batch_size, spec.augmentation, self.inputs.seed, *names
        )
        rates = [spec.network_learning_rate] * self.inner_loop
        training = TrainingState(model)
        try:
            train(training, images, labels, rates, batches, Sgd(), loss_of=self._loss(len(images)))
        except NonFiniteLossError as error:
            msg = f"network {state.draw + 1} of stage {self.inputs.stage}: {error}"
            raise NonFiniteLossError(msg) from error

    def _loss(self, images: int) -> Loss:
        if not self.spec.compiled:
            return mean_cross_entropy
        size = min(images, self.spec.network_batch_size)
        return compiled_loss(self.inputs.model, self.inputs.dataset.shape, len(self), size)

    def _source(self, name: str, draw: int, outer: int, label: int) -> torch.Generator:
        return generator(self.inputs.seed, *self.names, name, draw, outer, label)
