"""The matching of one class in one update: what it needs, what comes of it, and its images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pdd_ray.core.transfers import moved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdd_ray.training.augmentation.rules import Augmentation

    ImagesAndWeights = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Subsample:
    """Which rows of frozen images followed by prepared new ones are matched.

    Attributes:
        rows: Of both together, each at most once, int64 [k].
        frozen: Those of frozen images, ascending, int64.
        new: Those of new images, counted from the first new one, ascending, int64.
    """

    rows: Tensor
    frozen: Tensor
    new: Tensor

    @classmethod
    def of(cls, rows: Tensor, frozen: int) -> Subsample:
        """Return the subsample ``rows``, on the CPU, of ``frozen`` images and new ones."""
        ordered = rows.sort().values
        first = int((ordered < frozen).sum())
        return cls(rows, ordered[:first], ordered[first:] - frozen)


@dataclass(frozen=True, eq=False)
class ClassTask:
    """What one class needs in one update of its images.

    Attributes:
        label: The class.
        real: Positions of its real batch in the train images, int64 [B], on the CPU or where the
            train images are.
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
    subsample: Tensor | Subsample | None = None


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

    def arrived(self, tasks: Sequence[ClassTask]) -> list[ClassTask]:
        """Return ``tasks`` with all they hold on the device of the images, sent in one copy."""
        ready = []
        for task in tasks:
            rows = task.subsample
            if isinstance(rows, Tensor):
                rows = Subsample.of(rows, len(self._frozen_rows(task.label)))
            ready.append(replace(task, subsample=rows))
        return moved(ready, self.real.device)

    def of(self, task: ClassTask) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images of ``task`` as a leaf, its real batch and its frozen images.

        All are on the device and in the dtype of ``task.images``.
        """
        images = task.images.detach().requires_grad_(True)
        real = self.real[task.real.to(self.real.device)].to(images)
        frozen = self.frozen[self._frozen_rows(task.label)].to(images)
        return images, real, frozen

    def _frozen_rows(self, label: int) -> Tensor:
        """Return the positions of the frozen images of class ``label``, int64, on their device."""
        present, nothing = self._frozen_by_class
        return present.get(label, nothing)

    @cached_property
    def _frozen_by_class(self) -> tuple[dict[int, Tensor], Tensor]:
        labels = self.frozen_labels.cpu()
        rows = {label: (labels == label).nonzero().flatten() for label in labels.unique().tolist()}
        return moved((rows, torch.empty(0, dtype=torch.int64)), self.frozen.device)


def equal_weights(images: Tensor) -> Tensor:
    """Return the weights with which a sum over ``images`` [N, ...] is their mean, [N]."""
    return images.new_full((len(images),), 1 / max(len(images), 1))


def union_parts(
    frozen: Tensor,
    new: Tensor,
    subsample: Tensor | Subsample | None,
    *,
    together: bool,
    fixed_sizes: bool,
) -> tuple[ImagesAndWeights, ImagesAndWeights]:
    """Return the images that do not change and the others, each with their weights in the mean.

    The weighted sums of both parts add up to the mean over the images that are kept.

    Args:
        frozen: Network-ready images of earlier stages, [F, C, H, W].
        new: Network-ready new images, [m, C, H, W].
        subsample: Rows of both together that are kept, int64, or these in order; None for all.
        together: Put all images into the second part, and leave dropped ones out of it: the
            images of a batch change what the network says of each other.
        fixed_sizes: Give dropped images a weight of zero instead of leaving them out, so that the
            sizes of both parts do not vary with the subsample.
    """
    if isinstance(subsample, Tensor):
        subsample = Subsample.of(subsample, len(frozen))
    if together:
        union = torch.cat([frozen, new])
        union = union if subsample is None else union[subsample.rows]
        return (frozen[:0], equal_weights(frozen[:0])), (union, equal_weights(union))
    if subsample is None:
        share = 1 / (len(frozen) + len(new))
        return _weighted(frozen, share), _weighted(new, share)
    share = 1 / len(subsample.rows)
    if not fixed_sizes:
        kept = (frozen[subsample.frozen], new[subsample.new])
        return _weighted(kept[0], share), _weighted(kept[1], share)
    weights = new.new_zeros(len(frozen) + len(new))
    weights[subsample.rows] = share
    return (frozen, weights[: len(frozen)]), (new, weights[len(frozen) :])


def _weighted(images: Tensor, weight: float) -> ImagesAndWeights:
    return images, images.new_full((len(images),), weight)
