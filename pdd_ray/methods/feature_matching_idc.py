"""IDC's feature matching: the distance of mean embeddings and its image gradients, by class.

For class c: ``|mean psi(theta; real_c) - mean psi(theta; frozen_c and new_c)|^2``, differentiated
with respect to the new images only (specification of other methods, sections 3.2 and 4).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from pdd_ray.methods.class_matching import ClassImages, ClassMatch, equal_weights, union_parts
from pdd_ray.methods.layer_features import Embedding
from pdd_ray.models.compilation import compiled
from pdd_ray.training.chunks import joined, parts_of, rest_of, total

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from pdd_ray.methods.class_matching import ClassTask
    from pdd_ray.models.plan import Shape
    from pdd_ray.models.registry import ModelSpec


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
        return [
            self._match_class(sums, theta.detach(), task) for task in self._images.arrived(tasks)
        ]

    def _match_class(
        self, sums: Callable[[Tensor, Tensor, Tensor], Tensor], theta: Tensor, task: ClassTask
    ) -> ClassMatch:
        augmented = task.augmentation.apply
        images, real, frozen = self._images.of(task)
        constant, variable = union_parts(
            frozen,
            self._prepare(images),
            task.subsample,
            together=self._model.has_batch_norm,
            fixed_sizes=self._compile,
        )

        def in_parts(images: Tensor, weights: Tensor) -> list[tuple[Tensor, ...]]:
            return parts_of(images, weights, together=self._model.has_batch_norm)

        def constant_sums(parts: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
            with torch.no_grad():
                return [sums(theta, *part) for part in parts]

        target = total(constant_sums(in_parts(augmented(real), equal_weights(real))))
        offset = torch.zeros_like(target)
        if len(constant[0]):
            offset = total(constant_sums(in_parts(augmented(constant[0]), constant[1])))
        batch = augmented(variable[0])
        parts = in_parts(batch.detach(), variable[1])
        offsets = [offset]
        if len(parts) > 1:  # for each part the others are constant
            offsets = [offset + rest for rest in rest_of(constant_sums(parts))]
        losses: list[Tensor] = []
        gradients: list[Tensor] = []
        for (part, weights), others in zip(parts, offsets, strict=True):
            leaf = part.detach().requires_grad_(True)  # compiled code wants one
            losses.append(squared_distance(others + sums(theta, leaf, weights), target))
            gradients += torch.autograd.grad(losses[-1], leaf)
        (gradient,) = torch.autograd.grad(batch, images, joined(gradients))
        return ClassMatch(losses[0].detach(), gradient)


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
