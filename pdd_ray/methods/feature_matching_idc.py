"""IDC's matching of features: mean outputs of the last block, class by class.

For class c: ``|mean psi(theta; real_c) - mean psi(theta; frozen_c and new_c)|^2``, differentiated
with respect to the new images only (specification of other methods, sections 3.2 and 4).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from pdd_ray.compilation import compiled
from pdd_ray.methods.class_tasks import ClassImages, ClassMatch
from pdd_ray.methods.layer_features import Embedding
from pdd_ray.specs.model import has_batch_norm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from pdd_ray.methods.class_tasks import ClassTask
    from pdd_ray.models.plan import Shape
    from pdd_ray.specs.model import ModelSpec


def squared_distance(mean: Tensor, target: Tensor) -> Tensor:
    """Return the squared distance [] of two means of features, of the same shape."""
    return (mean - target).square().sum()


class FeatureMatcher:
    """Computes the distances of mean features, and their image gradients, class by class.

    The result of a class depends on its task and theta alone, so tasks can be split over processes
    in any way.

    Args:
        model: The network.
        real: Prepared train images, [N, C, H, W].
        frozen: Network-ready images of earlier stages, [F, C, H, W]; F may be 0.
        frozen_labels: Their classes, int64 [F].
        prepare: Gives the network-ready images [m, C, H, W] of what is optimised, differentiably.
            Must be picklable to be used in other processes.
        compile: Compile the features with torch.compile.
    """

    def __init__(
        self,
        model: ModelSpec,
        real: Tensor,
        frozen: Tensor,
        frozen_labels: Tensor,
        prepare: Callable[[Tensor], Tensor],
        *,
        compile: bool = False,
    ) -> None:
        self._model = model
        self._images = ClassImages(real, frozen, frozen_labels)
        self._prepare = prepare
        self._compile = compile

    def match(self, theta: Tensor, tasks: Sequence[ClassTask]) -> list[ClassMatch]:
        """Return the distance and image gradient of every task under the network ``theta`` [P].

        Without batch statistics the sum of the frozen images' features is a constant without graph.
        """
        device = str(theta.device)
        sums = _weighted_sums(self._model, self._images.shape, device, compile=self._compile)
        return [self._match_class(sums, theta.detach(), task) for task in tasks]

    def _match_class(
        self, sums: Callable[[Tensor, Tensor, Tensor], Tensor], theta: Tensor, task: ClassTask
    ) -> ClassMatch:
        def summed(images: Tensor, weights: Tensor) -> Tensor:
            if not self._compile:  # compiled code wants sizes that do not vary with the subsample
                images, weights = images[weights > 0], weights[weights > 0]
            return sums(theta, task.augmentation.apply(images), weights)

        images, real, frozen = self._images.of(task)
        union = torch.cat([frozen, self._prepare(images)])
        weights = _weights(union, task.subsample)
        with torch.no_grad():
            target = summed(real, real.new_full((len(real),), 1 / len(real)))
        if has_batch_norm(self._model):
            mean = summed(union, weights)
        else:
            with torch.no_grad():
                constant = summed(frozen, weights[: len(frozen)])
            mean = constant + summed(union[len(frozen) :], weights[len(frozen) :])
        loss = squared_distance(mean, target)
        (gradient,) = torch.autograd.grad(loss, images)
        return ClassMatch(loss.detach(), gradient)


@lru_cache
def _weighted_sums(
    model: ModelSpec, shape: Shape, device: str, *, compile: bool
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the function that gives the weighted sum of the features of images, [D].

    Once per process, since compiling takes long.
    """
    embedding = Embedding(model, shape, device)

    def weighted_sum(theta: Tensor, images: Tensor, weights: Tensor) -> Tensor:
        return weights @ embedding(theta, images)

    return compiled(weighted_sum) if compile else weighted_sum


def _weights(union: Tensor, subsample: Tensor | None) -> Tensor:
    """Return the weight of each row in the mean of those that are kept, [N]."""
    if subsample is None:
        return union.new_full((len(union),), 1 / len(union))
    weights = union.new_zeros(len(union))
    weights[subsample.to(union.device)] = 1 / len(subsample)
    return weights
