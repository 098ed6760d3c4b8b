"""DM, the distillation method: mean embeddings of real and synthetic images, matched by class.

Specification of other methods, sections 2 and 5.

``loss = sum over classes c of |mean psi(real_c) - mean psi(frozen_c and new_c)|^2`` with psi the
inputs of the classifier of a network that is not trained (Zhao and Bilen 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from pdd_ray.core.errors import ConfigError
from pdd_ray.core.seeding import generator
from pdd_ray.methods.class_matching import ClassImages, ClassMatch, ClassTask
from pdd_ray.methods.drawn_networks import distill_by_draws, drawn_network, outcome_of
from pdd_ray.methods.initial import class_members, first_images, random_members
from pdd_ray.methods.layer_features import Embedding
from pdd_ray.methods.shards import sharded
from pdd_ray.methods.stage_images import stage_images_of
from pdd_ray.models.compilation import compiled
from pdd_ray.training.augmentation.rules import draw_augmentation
from pdd_ray.training.chunks import parts_of, rest_of, total

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from pdd_ray.configuration.methods.distribution_matching import CafeSpec, DmSpec
    from pdd_ray.methods.base import Observer, Partial, StageInputs, StageOutcome
    from pdd_ray.methods.drawn_networks import DrawState
    from pdd_ray.methods.stage_images import StageImages
    from pdd_ray.models.plan import Shape
    from pdd_ray.models.registry import ModelSpec


class Dm:
    """The method of one stage: matches mean embeddings under many networks."""

    def __init__(self, spec: DmSpec) -> None:
        self.spec = spec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the new images of stage ``inputs.stage``; see DistillationMethod."""
        spec = self.spec
        stage_images = stage_images_of(inputs, spec)
        draws = SiameseDraws(spec, inputs, stage_images)
        matcher = DmMatcher(inputs.model, draws.batches, compile=spec.compile)

        def use(state: DrawState) -> Mapping[str, Tensor]:
            theta = drawn_network(inputs, state.draw)
            matches = shards.match(theta, draws.tasks(state.images, state.draw))
            gradient = stage_images.gathered([match.gradient for match in matches])
            state.descend(gradient, spec.image_learning_rate * stage_images.rates, spec.momentum)
            return {"loss": torch.stack([match.loss for match in matches]).sum()}

        first = stage_images.first(draws.first_images())
        with sharded(matcher, inputs.shards) as shards:
            state = distill_by_draws(spec.iterations, first, use, inputs, partial, observer)
        return outcome_of(state, stage_images, inputs, spec.step_size)


class RealClasses:
    """The positions of the train images of each class.

    Raises:
        ConfigError: if a class has none.
    """

    def __init__(self, inputs: StageInputs) -> None:
        self._members = class_members(inputs.dataset)
        for name, members in zip(inputs.dataset.classes, self._members, strict=True):
            if not len(members):
                msg = f"class {name!r} has no train images to match; leave the class out"
                raise ConfigError(msg)

    def batch(self, label: int, size: int, source: torch.Generator) -> Tensor:
        """Return ``size`` random positions of class ``label``, or all if it is smaller."""
        return random_members(self._members[label], size, source)


@dataclass(frozen=True, eq=False)
class WeightedBatch:
    """A batch [b, C, H, W], and the weights [K, b] of its images in the means of K classes."""

    images: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class GroupBatches:
    """What goes through the network for the K classes of a group.

    Attributes:
        real: The augmented real images.
        constant: Augmented frozen images; none where they go through the network with the others.
        variable: Augmented new images, as a function of ``leaves``; with the frozen ones where
            these are not constant. Its mean and that of ``constant`` add up to that of the union.
        leaves: The images of the tasks.
    """

    real: WeightedBatch
    constant: WeightedBatch
    variable: WeightedBatch
    leaves: list[Tensor]

    def gradients(self, d_batch: Tensor) -> Sequence[Tensor]:
        """Return the gradients of ``leaves``, given that of ``variable.images``."""
        return torch.autograd.grad(self.variable.images, self.leaves, d_batch)


class ClassBatches:
    """Makes the batches of groups of classes: one class at a time, or all with batch norm.

    Args:
        real: Prepared train images, [N, C, H, W].
        frozen: Network-ready images of earlier stages, [F, C, H, W]; F may be 0.
        frozen_labels: Their classes, int64 [F].
        together: Batch norm mixes the classes: all real images form one batch, all synthetic
            ones another.
    """

    def __init__(
        self, real: Tensor, frozen: Tensor, frozen_labels: Tensor, *, together: bool
    ) -> None:
        self._images = ClassImages(real, frozen, frozen_labels)
        self.shape = self._images.shape
        self._together = together

    def groups(self, tasks: Sequence[ClassTask]) -> list[list[ClassTask]]:
        """Return which of ``tasks`` go through the network in the same batch, on its device."""
        arrived = self._images.arrived(tasks)
        return [arrived] if self._together else [[task] for task in arrived]

    def of(self, group: Sequence[ClassTask]) -> GroupBatches:
        """Return the batches of ``group``; real and frozen images in the dtype of the tasks'."""
        real, constant, variable, leaves, counts = [], [], [], [], []
        for task in group:
            images, chosen, frozen = self._images.of(task)
            kept, moving = frozen, images
            if self._together:
                kept, moving = frozen[:0], torch.cat([frozen, images])
            real.append(task.augmentation.apply(chosen))
            constant.append(task.augmentation.apply(kept) if len(kept) else kept)
            variable.append(task.augmentation.apply(moving))
            leaves.append(images)
            counts.append(len(frozen) + len(images))
        return GroupBatches(
            real=_weighted_batch(real, [len(part) for part in real]),
            constant=_weighted_batch(constant, counts),
            variable=_weighted_batch(variable, counts),
            leaves=leaves,
        )


class SiameseDraws:
    """Draws the tasks of all classes: real batches, and augmentations that all images share."""

    def __init__(
        self, spec: DmSpec | CafeSpec, inputs: StageInputs, stage_images: StageImages
    ) -> None:
        self._spec = spec
        self._inputs = inputs
        self._stage_images = stage_images
        self.real = RealClasses(inputs)
        self.batches = ClassBatches(
            inputs.dataset.train_images,
            stage_images.frozen,
            stage_images.frozen_labels,
            together=inputs.model.has_batch_norm,
        )

    def first_images(self) -> Tensor:
        """Return the new images with which the stage starts, [N, C, H, W]."""
        inputs = self._inputs
        return first_images(
            self._spec.initialisation,
            inputs.dataset,
            inputs.images_per_class,
            inputs.seed,
            "stage",
            inputs.stage,
            "initialisation",
        )

    def tasks(self, images: Tensor, *names: str | int) -> list[ClassTask]:
        """Return the tasks of all classes for ``images``, what is optimised, in update ``names``.

        Every class draws from streams of its own, which are named by the stage and ``names``.
        """
        return [
            self._task(images, label, names) for label in range(self._inputs.dataset.num_classes)
        ]

    def _task(self, images: Tensor, label: int, names: tuple[str | int, ...]) -> ClassTask:
        def source(what: str) -> torch.Generator:
            stage = self._inputs.stage
            return generator(self._inputs.seed, "stage", stage, what, *names, label)

        height, width = images.shape[-2:]
        strategy = self._spec.augmentation
        return ClassTask(
            label=label,
            real=self.real.batch(label, self._spec.real_batch_size, source("real")),
            images=images[self._stage_images.members(label)],
            augmentation=draw_augmentation(
                "dsa", strategy, 1, height, width, source("augmentation"), shared=True
            ),
        )


class DmMatcher:
    """Computes the distances of mean embeddings and their gradients, class by class.

    The result of a class depends on its task and theta alone, so tasks can be split over processes
    in any way; with batch norm it depends on all tasks, which then must be given together.

    Args:
        model: The network.
        batches: Makes the batches of the tasks.
        compile: Compile the embedding and its gradient with torch.compile.
    """

    def __init__(self, model: ModelSpec, batches: ClassBatches, *, compile: bool = False) -> None:
        self._model = model
        self._batches = batches
        self._compile = compile

    def match(self, theta: Tensor, tasks: Sequence[ClassTask]) -> list[ClassMatch]:
        """Return the squared distance and its image gradient for every task.

        Args:
            theta: Parameters of the network, [P].
            tasks: One per class; their images are on the device and in the dtype of ``theta``.
        """
        functions = _functions(self._model, self._batches.shape, str(theta.device), self._compile)
        return [
            match
            for group in self._batches.groups(tasks)
            for match in _match_group(functions, theta.detach(), self._batches.of(group))
        ]


def _match_group(functions: _Functions, theta: Tensor, batches: GroupBatches) -> list[ClassMatch]:
    target = functions.summed(theta, batches.real.images, batches.real.weights)
    if len(batches.constant.images):
        constant = batches.constant
        target = target - functions.summed(theta, constant.images, constant.weights)
    variable = batches.variable
    losses, d_batch = functions.distance_of_parts(
        theta, variable.images.detach(), variable.weights, target
    )
    return [
        ClassMatch(loss, gradient)
        for loss, gradient in zip(losses, batches.gradients(d_batch), strict=True)
    ]


class _Functions:
    """The embedding of a network and its derivative; compiled, if wanted, once per batch size.

    ``mean(theta, images, weights)`` gives weighted sums of embeddings [K, features];
    ``distance(theta, images, weights, target)`` their squared distances [K] from ``target``, and
    the derivative of the sum with respect to the images.
    """

    def __init__(self, embedding: Embedding, *, together: bool, compile: bool) -> None:
        self._embedding = embedding
        self._together = together
        self.mean = self._eager_mean
        self.distance = self._eager_distance
        # Uncompiled torch.func takes 1.27 times the time of autograd at width 32, 1.12 at 128, and
        # rounds otherwise in float32 (benchmarks/twins.py): both are kept.
        if compile:
            self.mean = compiled(self._mean)
            self.distance = compiled(self._functional_distance)

    def summed(self, theta: Tensor, images: Tensor, weights: Tensor) -> Tensor:
        """Return ``mean``, of as many images at once as the memory holds."""
        parts = parts_of(images, weights, together=self._together)
        return total([self.mean(theta, *part) for part in parts])

    def distance_of_parts(
        self, theta: Tensor, images: Tensor, weights: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ``distance``, of as many images at once; for each part the others are constant."""
        parts = parts_of(images, weights, together=self._together)
        if len(parts) == 1:
            return self.distance(theta, images, weights, target)
        rests = rest_of([self.mean(theta, *part) for part in parts])
        found = [
            self.distance(theta, batch, shares, target - rest)
            for (batch, shares), rest in zip(parts, rests, strict=True)
        ]
        return found[0][0], torch.cat([d_images for _, d_images in found])

    def _mean(self, theta: Tensor, images: Tensor, weights: Tensor) -> Tensor:
        return weights @ self._embedding(theta, images)

    def _distances(
        self, theta: Tensor, images: Tensor, weights: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        distances = (self._mean(theta, images, weights) - target).square().sum(dim=1)
        return distances.sum(), distances

    @torch.no_grad()
    def _eager_mean(self, theta: Tensor, images: Tensor, weights: Tensor) -> Tensor:
        return self._mean(theta, images, weights)

    def _eager_distance(
        self, theta: Tensor, images: Tensor, weights: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        images = images.detach().requires_grad_(True)
        total, distances = self._distances(theta, images, weights, target)
        (d_images,) = torch.autograd.grad(total, images)
        return distances.detach(), d_images

    def _functional_distance(
        self, theta: Tensor, images: Tensor, weights: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        derivative = torch.func.grad(self._distances, argnums=1, has_aux=True)
        d_images, distances = derivative(theta, images, weights, target)
        return distances, d_images


@lru_cache
def _functions(model: ModelSpec, shape: Shape, device: str, compile: bool) -> _Functions:
    embedding = Embedding(model, shape, device)
    return _Functions(embedding, together=model.has_batch_norm, compile=compile)


def _weighted_batch(parts: Sequence[Tensor], totals: Sequence[int]) -> WeightedBatch:
    """Return the images of K classes as one batch, with weights of 1 / total of their class."""
    rows = [
        part.new_full((1, len(part)), 1 / total) for part, total in zip(parts, totals, strict=True)
    ]
    return WeightedBatch(torch.cat(list(parts)), torch.block_diag(*rows))
