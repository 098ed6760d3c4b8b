"""The matching of one class in one update: what it needs, what comes of it, and its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from pdd_ray.training.augmentation.rules import Augmentation

    ImagesAndWeights = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class ClassTask:
    """What one class needs in one update of its images.

    Attributes:
        label: The class.
        real: Positions of its real batch in the train images, int64 [B].
        images: What is optimised of this class, in the method's pixel domain, [n, C, H, W].
        augmentation: Of real, frozen and new images alike, so with one set of numbers for batches
            of any size.
        subsample: Rows of frozen images followed by prepared new ones that are matched, each at
            most once, int64; None for all.
    """

    label: int
    real: Tensor
    images: Tensor
    augmentation: Augmentation
    subsample: Tensor | None = None


@dataclass(frozen=True, eq=False)
class ClassMatch:
    """The distance of one class, [], and its gradient with respect to the task's ``images``."""

    loss: Tensor
    gradient: Tensor


@dataclass(frozen=True, eq=False)
class ClassImages:
    """The images that do not change during a stage, from which each class takes its own.

    Attributes:
        real: Prepared train images, [N, C, H, W].
        frozen: Network-ready images of earlier stages, [F, C, H, W]; F may be 0.
        frozen_labels: Their classes, int64 [F].
    """

    real: Tensor
    frozen: Tensor
    frozen_labels: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of all images."""
        return (self.real.shape[1], self.real.shape[2], self.real.shape[3])

    def of(self, task: ClassTask) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images of ``task`` as a leaf, its real batch and its frozen images.

        All are on the device and in the dtype of ``task.images``.
        """
        images = task.images.detach().requires_grad_(True)
        real = self.real[task.real.to(self.real.device)].to(images)
        frozen = self.frozen[self.frozen_labels == task.label].to(images)
        return images, real, frozen


def equal_weights(images: Tensor) -> Tensor:
    """Return the weights with which a sum over ``images`` [N, ...] is their mean, [N]."""
    return images.new_full((len(images),), 1 / max(len(images), 1))


def union_parts(
    frozen: Tensor, new: Tensor, subsample: Tensor | None, *, together: bool, fixed_sizes: bool
) -> tuple[ImagesAndWeights, ImagesAndWeights]:
    """Return the images that do not change and the others, each with their weights in the mean.

    The weighted sums of both parts add up to the mean over the images that are kept.

    Args:
        frozen: Network-ready images of earlier stages, [F, C, H, W].
        new: Network-ready new images, [m, C, H, W].
        subsample: Rows of both together that are kept, int64; None for all.
        together: Put all images into the second part, and leave dropped ones out of it: the
            images of a batch change what the network says of each other.
        fixed_sizes: Give dropped images a weight of zero instead of leaving them out, so that the
            sizes of both parts do not vary with the subsample.
    """
    count = len(frozen) + len(new)
    rows = torch.arange(count, device=new.device) if subsample is None else subsample.to(new.device)
    if together:
        union = torch.cat([frozen, new])[rows]
        return (frozen[:0], equal_weights(frozen[:0])), (union, equal_weights(union))
    weights = new.new_zeros(count)
    weights[rows] = 1 / len(rows)
    parts = [(frozen, weights[: len(frozen)]), (new, weights[len(frozen) :])]
    if subsample is not None and not fixed_sizes:
        parts = [(images[kept > 0], kept[kept > 0]) for images, kept in parts]
    return parts[0], parts[1]
