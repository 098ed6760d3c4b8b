"""The gradient matching loss and its image gradients, by class: for DC, DSA, IDC and DREAM.

For class c: ``D(grad l(theta; real_c), grad l(theta; frozen_c and new_c))``, differentiated with
respect to the new images only (specification of other methods, sections 1, 3.2, 4 and 5).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from pdd_ray.methods.class_matching import ClassImages, ClassMatch, equal_weights, union_parts
from pdd_ray.models.compilation import compiled
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.training.chunks import parts_of, rest_of, total

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from pdd_ray.methods.class_matching import ClassTask
    from pdd_ray.methods.gradient_distance import GradientDistance
    from pdd_ray.models.plan import Shape
    from pdd_ray.models.registry import ModelSpec

    Tensors = tuple[Tensor, ...]
    Statistics = Mapping[str, Tensor]


def as_they_are(images: Tensor) -> Tensor:
    """Return ``images``: the preparation of images that a network can take."""
    return images


class GradientMatcher:
    """Computes the matching gradients of classes, one by one.

    The result of a class depends on its task, theta and the statistics alone, so tasks can be
    split over processes in any way.

    Args:
        model: The network.
        num_classes: Its outputs.
        real: Prepared train images, [N, C, H, W].
        frozen: Network-ready images of earlier stages, [F, C, H, W]; F may be 0.
        frozen_labels: Their classes, int64 [F].
        distance: Of gradients.
        prepare: Gives the network-ready images [m, C, H, W] of what is optimised, differentiably:
            decoded, normalised. Must be picklable to be used in other processes.
        compile: Compile the gradients with torch.compile.
    """

    def __init__(
        self,
        model: ModelSpec,
        num_classes: int,
        real: Tensor,
        frozen: Tensor,
        frozen_labels: Tensor,
        distance: GradientDistance,
        prepare: Callable[[Tensor], Tensor] = as_they_are,
        *,
        compile: bool = False,
    ) -> None:
        self._model = model
        self._num_classes = num_classes
        self._images = ClassImages(real, frozen, frozen_labels)
        self._distance = distance
        self._prepare = prepare
        self._compile = compile

    def match(
        self, theta: Tensor, tasks: Sequence[ClassTask], statistics: Statistics | None = None
    ) -> list[ClassMatch]:
        """Return the distance and image gradient of every task under the network ``theta``.

        Without batch statistics the gradient of the frozen images is a constant that needs no
        second derivatives: the gradient of a mean is the weighted mean of gradients
        (specification of other methods, section 4.4).

        Args:
            theta: Parameters, [P].
            tasks: One per class; their images are on the device and in the dtype of ``theta``.
            statistics: Running means and variances by name that batch norm uses for all images.
                With None it uses those of each batch, so frozen and new images go through the
                network together.
        """
        functions = _functions(
            self._model,
            self._images.shape,
            self._num_classes,
            self._distance,
            statistics is not None,
            self._compile,
        )
        return [
            self._match_class(functions, theta.detach(), task, statistics or {})
            for task in self._images.arrived(tasks)
        ]

    def _match_class(
        self,
        functions: _Functions,
        theta: Tensor,
        task: ClassTask,
        statistics: Statistics,
    ) -> ClassMatch:
        def batch_of(images: Tensor, weights: Tensor) -> Tensors:
            labels = torch.full((len(images),), task.label, device=images.device)
            return task.augmentation.apply(images), labels, weights

        images, real, frozen = self._images.of(task)
        target = functions.summed(theta, statistics, *batch_of(real, equal_weights(real)))
        constant, variable = union_parts(
            frozen,
            self._prepare(images),
            task.subsample,
            together=functions.coupled,
            fixed_sizes=self._compile,
        )
        offset: Tensors = ()
        if len(constant[0]):
            offset = functions.summed(theta, statistics, *batch_of(*constant))
            if not len(variable[0]):
                loss = self._distance(offset, target)
                return ClassMatch(loss, torch.zeros_like(task.images))
        batch, labels, weights = batch_of(*variable)
        loss, d_batch = functions.distance_of_parts(
            theta, statistics, batch.detach(), labels, weights, offset, target
        )
        (gradient,) = torch.autograd.grad(batch, images, d_batch)
        return ClassMatch(loss, gradient)


class _Functions:
    """First and second derivatives of a network's loss; compiled, if wanted, per batch size.

    ``gradient(theta, statistics, images, labels, weights)`` gives the gradient of the weighted sum
    of cross-entropies, one tensor for each parameter that the distance looks at.
    ``distance(theta, statistics, images, labels, weights, offset, target)`` gives the distance
    between ``offset`` (none if empty) plus that gradient and ``target``, and its derivative with
    respect to the images.

    Attributes:
        coupled: Whether the images of a batch change each other's gradients.
    """

    def __init__(
        self, skeleton: nn.Module, distance: GradientDistance, *, coupled: bool, compile: bool
    ) -> None:
        self.coupled = coupled
        self._skeleton = skeleton
        self._flat = FlatModel(skeleton)
        self._distance = distance
        shapes = zip(self._flat.names, self._flat.shapes, strict=True)
        self._matched = [name for name, shape in shapes if distance.looks_at(len(shape))]
        self.gradient = self._eager_gradient
        self.distance = self._eager_distance
        # Uncompiled torch.func takes 1.13 to 1.25 times the time of autograd at width 32, 1.06 to
        # 1.08 at 128, and rounds otherwise in float32 (benchmarks/twins.py): both are kept.
        if compile:
            self.gradient = compiled(self._functional_gradient)
            self.distance = compiled(self._functional_distance)

    def summed(
        self, theta: Tensor, statistics: Statistics, images: Tensor, labels: Tensor, weights: Tensor
    ) -> Tensors:
        """Return ``gradient``, of as many images at once as the memory holds."""
        parts = parts_of(images, labels, weights, together=self.coupled)
        return total([self.gradient(theta, statistics, *part) for part in parts])

    def distance_of_parts(
        self,
        theta: Tensor,
        statistics: Statistics,
        images: Tensor,
        labels: Tensor,
        weights: Tensor,
        offset: Tensors,
        target: Tensors,
    ) -> tuple[Tensor, Tensor]:
        """Return ``distance``, of as many images at once; for each part the others are constant."""
        parts = parts_of(images, labels, weights, together=self.coupled)
        if len(parts) == 1:
            return self.distance(theta, statistics, images, labels, weights, offset, target)
        sums = [self.gradient(theta, statistics, *part) for part in parts]
        rests = [total([rest, offset]) if offset else rest for rest in rest_of(sums)]
        found = [
            self.distance(theta, statistics, batch, classes, shares, rest, target)
            for (batch, classes, shares), rest in zip(parts, rests, strict=True)
        ]
        return found[0][0], torch.cat([d_images for _, d_images in found])

    def _split(self, theta: Tensor, statistics: Statistics) -> tuple[Tensors, dict[str, Tensor]]:
        """Return the parameters that are looked at, and the rest of the network's state."""
        state = {**self._flat.unflatten(theta), **statistics}
        return tuple(state.pop(name) for name in self._matched), state

    def _loss(
        self,
        matched: Tensors,
        rest: dict[str, Tensor],
        images: Tensor,
        labels: Tensor,
        weights: Tensor,
    ) -> Tensor:
        state = {**rest, **dict(zip(self._matched, matched, strict=True))}
        logits = cast("Tensor", functional_call(self._skeleton, state, (images,)))
        return weights @ F.cross_entropy(logits, labels, reduction="none")

    def _between(self, gradients: Tensors, offset: Tensors, target: Tensors) -> Tensor:
        if offset:
            gradients = tuple(a + b for a, b in zip(offset, gradients, strict=True))
        return self._distance(gradients, target)

    def _eager_gradient(
        self, theta: Tensor, statistics: Statistics, images: Tensor, labels: Tensor, weights: Tensor
    ) -> Tensors:
        matched, rest = self._split(theta, statistics)
        matched = tuple(value.detach().requires_grad_(True) for value in matched)
        loss = self._loss(matched, rest, images.detach(), labels, weights)
        return torch.autograd.grad(loss, matched)

    def _eager_distance(
        self,
        theta: Tensor,
        statistics: Statistics,
        images: Tensor,
        labels: Tensor,
        weights: Tensor,
        offset: Tensors,
        target: Tensors,
    ) -> tuple[Tensor, Tensor]:
        matched, rest = self._split(theta, statistics)
        matched = tuple(value.detach().requires_grad_(True) for value in matched)
        images = images.detach().requires_grad_(True)
        loss = self._loss(matched, rest, images, labels, weights)
        gradients = torch.autograd.grad(loss, matched, create_graph=True)
        distance = self._between(gradients, offset, target)
        (d_images,) = torch.autograd.grad(distance, images)
        return distance.detach(), d_images

    def _functional_gradient(
        self, theta: Tensor, statistics: Statistics, images: Tensor, labels: Tensor, weights: Tensor
    ) -> Tensors:
        matched, rest = self._split(theta, statistics)
        gradients: Tensors = torch.func.grad(self._loss)(matched, rest, images, labels, weights)
        return gradients

    def _functional_distance(
        self,
        theta: Tensor,
        statistics: Statistics,
        images: Tensor,
        labels: Tensor,
        weights: Tensor,
        offset: Tensors,
        target: Tensors,
    ) -> tuple[Tensor, Tensor]:
        def distance(images: Tensor) -> Tensor:
            gradients = self._functional_gradient(theta, statistics, images, labels, weights)
            return self._between(gradients, offset, target)

        d_images, value = torch.func.grad_and_value(distance)(images)
        return value, d_images


@lru_cache
def _functions(
    model: ModelSpec,
    shape: Shape,
    num_classes: int,
    distance: GradientDistance,
    fixed_statistics: bool,
    compile: bool,
) -> _Functions:
    skeleton = create_model(model, shape, num_classes, torch.Generator())
    if fixed_statistics:
        skeleton.eval()
    else:
        _keep_no_statistics(skeleton)
    coupled = model.has_batch_norm and not fixed_statistics
    return _Functions(skeleton, distance, coupled=coupled, compile=compile)


def _keep_no_statistics(model: nn.Module) -> None:
    """Let batch norm use the statistics of each batch, and update none."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
