"""What one class needs in one update of its images, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from pdd_ray.augment.rules import Augmentation


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
