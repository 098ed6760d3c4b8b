"""The batches of several networks as one: each network keeps its own images, draws and mixing.

What the networks' draws say is put together on the CPU, where they are drawn; operations that
several networks drew are then applied to the images of all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from pdd_ray.training.augmentation import dc, dsa
from pdd_ray.training.augmentation.rules import Augmentation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pdd_ray.training.augmentation.cutmix import CutMix
    from pdd_ray.training.augmentation.mixture import Mixture
    from pdd_ray.training.loop import Batch


@dataclass(frozen=True, eq=False)
class Share:
    """What is done to the images of some of the networks, ``members``, one after the other."""

    members: tuple[int, ...]
    augmentation: Augmentation

    def ready_for(self, shape: Sequence[int], dtype: torch.dtype) -> Share:
        """Return the same with all computed that needs no pixels; ``shape`` is that of a batch."""
        own = (len(self.members) * shape[0], *shape[1:])
        return replace(self, augmentation=self.augmentation.ready_for(own, dtype))


@dataclass(frozen=True, eq=False)
class MergedAugmentation:
    """The augmentations of k batches of b images.

    Attributes:
        count: k.
        rounds: What is done to the images, round by round; the shares of one have all networks.
    """

    count: int
    rounds: tuple[tuple[Share, ...], ...]

    def ready_for(self, shape: Sequence[int], dtype: torch.dtype) -> MergedAugmentation:
        """Return the same with all computed that needs no pixels, still on the CPU.

        Args:
            shape: (k * b, C, H, W) of the images.
            dtype: Of the images.
        """
        own = (shape[0] // self.count, *shape[1:])
        ready = tuple(tuple(share.ready_for(own, dtype) for share in part) for part in self.rounds)
        return replace(self, rounds=ready)

    def apply(self, images: Tensor) -> Tensor:
        """Return ``images`` [k * b, C, H, W], those of one network after those of another."""
        for shares in self.rounds:
            if len(shares) == 1:
                images = shares[0].augmentation.apply(images)
                continue
            size = len(images) // self.count
            parts = list(images.split(size))
            for share in shares:
                own = [parts[member] for member in share.members]
                changed = share.augmentation.apply(own[0] if len(own) == 1 else torch.cat(own))
                for member, part in zip(share.members, changed.split(size), strict=True):
                    parts[member] = part
            images = torch.cat(parts)
        return images


@dataclass(frozen=True, eq=False)
class MergedCutMix:
    """How the images of k batches of b images are mixed, each batch with a box of its own.

    Attributes:
        partners: Of each image, int64 [k * b]; a batch that is not mixed has its own images.
        boxes: What is taken from the partner, bool [k, 1, 1, H, W].
        ratios: Weight of an image's own label, float64 [k, 1, 1].
    """

    partners: Tensor
    boxes: Tensor
    ratios: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """Return ``images`` [k * b, C, H, W], each with its partner's box."""
        apart = (len(self.boxes), -1, *images.shape[1:])
        mixed = torch.where(self.boxes, images[self.partners].view(apart), images.view(apart))
        return mixed.view_as(images)

    def targets(self, targets: Tensor) -> Tensor:
        """Return the mixed ``targets``, probabilities [k * b, classes]."""
        apart = (len(self.ratios), -1, targets.shape[1])
        ratios = self.ratios.to(targets.dtype)
        own, partners = targets.view(apart), targets[self.partners].view(apart)
        return (ratios * own + (1 - ratios) * partners).view_as(targets)


@dataclass(frozen=True, eq=False)
class MergedBatch:
    """One step of k networks, with batches of b images each."""

    count: int
    indices: Tensor
    augmentation: MergedAugmentation
    cutmix: MergedCutMix | None = None

    def step_of(self, images: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Return the images [k, b, C, H, W] as the networks get them, and their targets.

        Args:
            images: All that is trained on, [N, C, H, W].
            targets: Classes, int64 [N], or probabilities, [N, classes].
            classes: Outputs of the networks.
        """
        indices = self.indices.to(images.device)
        inputs, wanted = self.augmentation.apply(images[indices]), targets[indices]
        if self.cutmix is not None:
            inputs = self.cutmix.apply(inputs)
            if not wanted.is_floating_point():
                wanted = F.one_hot(wanted, classes).to(inputs.dtype)
            wanted = self.cutmix.targets(wanted)
        apart = (self.count, -1)
        return inputs.unflatten(0, apart), wanted.unflatten(0, apart)


def merged(batches: Sequence[Batch], height: int, width: int) -> MergedBatch:
    """Return the batches of several networks, as large as each other, as one.

    Args:
        batches: One of each network; their draws on the CPU.
        height: Of the images.
        width: Of the images.
    """
    size = len(batches[0].indices)
    return MergedBatch(
        count=len(batches),
        indices=torch.cat([batch.indices for batch in batches]),
        augmentation=_merged_augmentation([batch.augmentation for batch in batches], size),
        cutmix=_merged_cutmix([batch.cutmix for batch in batches], size, height, width),
    )


def _merged_augmentation(augmentations: Sequence[Augmentation], size: int) -> MergedAugmentation:
    align_corners = augmentations[0].align_corners
    rounds = []
    for draws in zip(*(each.draws for each in augmentations), strict=True):
        by_operation: dict[object, list[int]] = {}
        for member, draw in enumerate(draws):
            by_operation.setdefault(_shared_name(draw, member), []).append(member)
        rounds.append(
            tuple(
                Share(
                    tuple(members),
                    Augmentation(
                        (_joined([draws[member] for member in members], size),), align_corners
                    ),
                )
                for members in by_operation.values()
            )
        )
    return MergedAugmentation(len(augmentations), tuple(rounds))


def _shared_name(draw: dsa.Draw | Mixture, member: int) -> object:
    """Return the same for draws that can be joined: those of DC depend on the whole batch."""
    if isinstance(draw, dsa.Draw) and draw.operation != dc.MIXTURE:
        return draw.operation
    return member


def _joined(draws: Sequence[dsa.Draw | Mixture], size: int) -> dsa.Draw | Mixture:
    """Return draws of one operation as one, with the numbers of all their images."""
    plain = [draw for draw in draws if isinstance(draw, dsa.Draw)]
    if len(draws) == 1 or len(plain) < len(draws):
        return draws[0]
    values = {
        name: torch.cat([draw.values[name].expand(size) for draw in plain])
        for name in plain[0].values
    }
    return dsa.Draw(plain[0].operation, values)


def _merged_cutmix(
    mixes: Sequence[CutMix | None], size: int, height: int, width: int
) -> MergedCutMix | None:
    if all(mix is None for mix in mixes):
        return None
    boxes = torch.zeros(len(mixes), 1, 1, height, width, dtype=torch.bool)
    partners = torch.arange(len(mixes) * size).view(len(mixes), size)
    ratios = torch.ones(len(mixes), 1, 1, dtype=torch.float64)
    for number, mix in enumerate(mixes):
        if mix is not None:
            box = mix.box
            boxes[number, ..., box.row : box.row_end, box.col : box.col_end] = True
            partners[number] = mix.permutation + number * size
            ratios[number] = mix.ratio
    return MergedCutMix(partners.flatten(), boxes, ratios)
