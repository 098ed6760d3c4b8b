"""Synthetic sets: the images of one or more stages, with what is needed to train on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pdd_ray.core.artifact_files import SYNTHETIC_SET
from pdd_ray.core.errors import FormatError
from pdd_ray.core.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.core.identities import Json

SCHEMA = 2


@dataclass(frozen=True, eq=False)
class SyntheticSet:
    """An immutable union U_i of synthetic sets S_1 .. S_i, stage by stage.

    N images are stored; with multi-formation (IDC) each stands for ``factor``^2 images to train
    on, so that there are M = N * factor^2 of these. Any network can be trained on ``images`` and
    ``targets`` as they are.

    Attributes:
        images: Network-ready images: decoded and prepared (normalised or whitened), float32
            [M, C, H, W]; unclamped. Within a stage they are ordered by part: first part of all
            stored images, then the second part of all.
        labels: Their classes, int64 [M].
        stage: Stage (1-based) in which each of them was made, int64 [M], ascending.
        step_sizes: Learned step size of each stage, float64 [stages].
        pixels: The stored images as pixels in about [0, 1] (unclamped), float32 [N, C, H, W].
        soft_labels: Learned logits of the network-ready images, float32 [M, classes]; [0, classes]
            if labels are hard.
        classes: Class names, by label.
        preparation: How prepared values came from pixels: ``normalise``, ``zca`` or ``none``.
        statistics: Values of that preparation: ``mean`` and ``std`` per channel; empty for ``zca``,
            whose matrices are with the prepared data set, and for ``none``.
        domain: What was optimised: ``prepared`` images, or pixels in ``unit`` range.
        factor: Multi-formation f.
        fingerprint: Content of the data set that it was distilled from.
    """

    images: Tensor
    labels: Tensor
    stage: Tensor
    step_sizes: Tensor
    pixels: Tensor
    soft_labels: Tensor
    classes: tuple[str, ...]
    preparation: str
    statistics: Mapping[str, list[float]]
    domain: str
    factor: int
    fingerprint: str

    def __post_init__(self) -> None:
        ready, stored = len(self.images), len(self.pixels)
        if not (len(self.labels) == len(self.stage) == ready == stored * self.factor**2):
            msg = (
                f"a synthetic set needs one label and stage per image, and {self.factor**2} images "
                f"per stored one: got {ready} images, {len(self.labels)} labels, "
                f"{len(self.stage)} stages, {stored} stored images"
            )
            raise FormatError(msg)
        if len(self.soft_labels) not in (0, ready):
            msg = f"{len(self.soft_labels)} soft labels for {ready} images: all or none has one"
            raise FormatError(msg)

    @property
    def stages(self) -> int:
        """Number of stages, i of U_i."""
        return len(self.step_sizes)

    def step_size(self, stage: int) -> float:
        """Return the learned step size of ``stage`` (1-based)."""
        return float(self.step_sizes[stage - 1])

    @property
    def targets(self) -> Tensor:
        """What networks train on: classes int64 [M], or probabilities float32 [M, classes]."""
        return self.soft_labels.softmax(dim=1) if len(self.soft_labels) else self.labels

    @property
    def stored_labels(self) -> Tensor:
        """Classes of the stored images, int64 [N]."""
        return self.labels[self._first_parts()]

    @property
    def stored_stage(self) -> Tensor:
        """Stages of the stored images, int64 [N]."""
        return self.stage[self._first_parts()]

    def up_to(self, stage: int) -> SyntheticSet:
        """Return U_stage."""
        chosen = self._rows(self.stage <= stage, self.stored_stage <= stage)
        return replace(chosen, step_sizes=self.step_sizes[:stage])

    def only(self, stage: int) -> SyntheticSet:
        """Return S_stage; its images keep their stage number."""
        return self._rows(self.stage == stage, self.stored_stage == stage)

    def extend(
        self,
        images: Tensor,
        labels: Tensor,
        pixels: Tensor,
        step_size: float,
        soft_labels: Tensor | None = None,
    ) -> SyntheticSet:
        """Return the union with a new stage; the images of earlier stages stay as they are."""
        number = self.stages + 1
        soft = self.soft_labels if soft_labels is None else soft_labels
        return replace(
            self,
            images=torch.cat([self.images, images]),
            labels=torch.cat([self.labels, labels]),
            stage=torch.cat([self.stage, torch.full_like(labels, number)]),
            step_sizes=torch.cat([self.step_sizes, torch.tensor([step_size], dtype=torch.float64)]),
            pixels=torch.cat([self.pixels, pixels]),
            soft_labels=soft if soft_labels is None else torch.cat([self.soft_labels, soft]),
        )

    def save(self, folder: Path) -> None:
        """Write the set to ``folder``, as one safetensors file that is readable without us."""
        tensors = {
            "images": self.images,
            "labels": self.labels,
            "stage": self.stage,
            "step_sizes": self.step_sizes,
            "pixels": self.pixels,
            "soft_labels": self.soft_labels,
        }
        metadata: dict[str, Json] = {
            "schema": SCHEMA,
            "classes": list(self.classes),
            "preparation": self.preparation,
            "statistics": {name: list(values) for name, values in self.statistics.items()},
            "domain": self.domain,
            "factor": self.factor,
            "fingerprint": self.fingerprint,
        }
        save_tensors(folder / SYNTHETIC_SET, tensors, metadata)

    def _rows(self, ready: Tensor, stored: Tensor) -> SyntheticSet:
        return replace(
            self,
            images=self.images[ready],
            labels=self.labels[ready],
            stage=self.stage[ready],
            pixels=self.pixels[stored],
            soft_labels=self.soft_labels[ready] if len(self.soft_labels) else self.soft_labels,
        )

    def _first_parts(self) -> Tensor:
        """Return the positions of the first parts of the stored images, int64 [N]."""
        parts = self.factor**2
        positions = [torch.zeros(0, dtype=torch.int64)]
        start = 0
        for count in torch.bincount(self.stage).tolist()[1:]:
            positions.append(torch.arange(start, start + count // parts))
            start += count
        return torch.cat(positions)


def load_synthetic_set(folder: Path) -> SyntheticSet:
    """Return the set that :meth:`SyntheticSet.save` wrote to ``folder``.

    Raises:
        FormatError: if there is none, or of another schema.
    """
    tensors, metadata = load_tensors(folder / SYNTHETIC_SET)
    if metadata.get("schema") != SCHEMA:
        found = metadata.get("schema")
        msg = f"{folder / SYNTHETIC_SET} has schema {found}, this version reads {SCHEMA}"
        raise FormatError(msg)
    return SyntheticSet(
        **tensors,
        classes=tuple(metadata["classes"]),
        preparation=metadata["preparation"],
        statistics=metadata["statistics"],
        domain=metadata["domain"],
        factor=metadata["factor"],
        fingerprint=metadata["fingerprint"],
    )


def empty_set(
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    preparation: str,
    fingerprint: str,
    *,
    statistics: Mapping[str, list[float]] | None = None,
    domain: str = "prepared",
    factor: int = 1,
) -> SyntheticSet:
    """Return the union of no stages, to be extended; ``shape`` is (C, H, W)."""
    return SyntheticSet(
        images=torch.zeros(0, *shape),
        labels=torch.zeros(0, dtype=torch.int64),
        stage=torch.zeros(0, dtype=torch.int64),
        step_sizes=torch.zeros(0, dtype=torch.float64),
        pixels=torch.zeros(0, *shape),
        soft_labels=torch.zeros(0, len(classes)),
        classes=classes,
        preparation=preparation,
        statistics=statistics or {},
        domain=domain,
        factor=factor,
        fingerprint=fingerprint,
    )
