"""The optimised and the frozen images of a stage, with their labels and learning rates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from pdd_ray.core.transfers import moved
from pdd_ray.methods.initial import class_major_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pdd_ray.configuration.method import DistillationSpec
    from pdd_ray.methods.base import StageInputs


@dataclass(frozen=True, eq=False)
class StageImages:
    """What a stage optimises and what it keeps frozen, on the stage's device.

    Attributes:
        carried: Images of earlier stages that are updated too, in the method's pixel domain,
            [K, C, H, W]; K is 0 unless the method updates previous images. They come first in
            everything that is optimised.
        labels: Classes of what is optimised: carried, then new images class by class, int64 [N].
        rates: Multiples of the image learning rate, float32 [N, 1, 1, 1]; 1 for new images.
        frozen: Network-ready (prepared, decoded) images of earlier stages, [F, C, H, W]; none in
            the first stage, and without conditioning.
        frozen_labels: Their classes, int64 [F].
    """

    carried: Tensor
    labels: Tensor
    rates: Tensor
    frozen: Tensor
    frozen_labels: Tensor

    def first(self, new: Tensor) -> Tensor:
        """Return what is optimised at the start, given the first ``new`` images."""
        return torch.cat([self.carried, new.to(self.carried)])

    def split(self, images: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the carried images (None if there are none) and the new ones, on the CPU."""
        count = len(self.carried)
        return (images[:count].cpu() if count else None), images[count:].cpu()

    def members(self, label: int) -> Tensor:
        """Return the positions of the optimised images of class ``label``, int64."""
        return self._members[label]

    def gathered(self, parts: Sequence[Tensor]) -> Tensor:
        """Return one tensor [N, C, H, W] of the ``parts`` of class 0, 1, .., [n, C, H, W] each."""
        whole = parts[0].new_zeros(len(self.labels), *parts[0].shape[1:])
        for members, part in zip(self._members, parts, strict=True):
            whole[members] = part
        return whole

    @cached_property
    def host_members(self) -> list[Tensor]:
        """What :meth:`members` gives for every class, on the CPU."""
        labels = self.labels.cpu()
        classes = int(labels.max()) + 1  # a stage has images of every class
        return [(labels == label).nonzero().flatten() for label in range(classes)]

    @cached_property
    def _members(self) -> list[Tensor]:
        return moved(self.host_members, self.labels.device)


def stage_images_of(inputs: StageInputs, spec: DistillationSpec) -> StageImages:
    """Return what stage ``inputs.stage`` optimises and keeps frozen, as ``spec`` has it."""
    previous = inputs.previous
    new_labels = class_major_labels(inputs.dataset.num_classes, inputs.images_per_class)
    nothing = previous.up_to(0)
    updated = previous if spec.update_previous else nothing
    frozen = previous if spec.conditioning and not spec.update_previous else nothing
    carried = updated.pixels if spec.pixel_domain == "unit" else updated.images
    scale = spec.update_previous.learning_rate_scale if spec.update_previous else 1.0
    rates = torch.cat([torch.full((len(carried),), scale), torch.ones(len(new_labels))])
    device = inputs.device
    return StageImages(
        carried=carried.to(device),
        labels=torch.cat([updated.stored_labels, new_labels]).to(device),
        rates=rates.view(-1, 1, 1, 1).to(device),
        frozen=frozen.images.to(device),
        frozen_labels=frozen.labels.to(device),
    )
