"""Synthetic sets: the images of one or more stages, with what is needed to train on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pdd_ray.errors import FormatError
from pdd_ray.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from pdd_ray.fingerprint import Json

FILE = "synthetic.safetensors"
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class SyntheticSet:
    """An immutable union U_i of synthetic sets S_1 .. S_i, stage by stage.

    Attributes:
        images: Prepared (normalised or whitened) images, float32 [N, C, H, W]; unclamped.
        labels: Classes, int64 [N].
        stage: Stage (1-based) in which each image was made, int64 [N], ascending.
        step_sizes: Learned step size of each stage, float64 [stages].
        pixels: The same images as pixels in about [0, 1] (unclamped), float32 [N, C, H, W].
        classes: Class names, by label.
        preparation: How prepared values came from pixels: ``normalise``, ``zca`` or ``none``.
        fingerprint: Content of the data set that it was distilled from.
    """

    images: Tensor
    labels: Tensor
    stage: Tensor
    step_sizes: Tensor
    pixels: Tensor
    classes: tuple[str, ...]
    preparation: str
    fingerprint: str

    def __post_init__(self) -> None:
        count = len(self.images)
        if not (len(self.labels) == len(self.stage) == len(self.pixels) == count):
            msg = (
                f"a synthetic set needs one label, stage and pixel image per image: got {count} "
                f"images, {len(self.labels)} labels, {len(self.stage)} stages, "
                f"{len(self.pixels)} pixel images"
            )
            raise FormatError(msg)

    @property
    def stages(self) -> int:
        """Number of stages, i of U_i."""
        return len(self.step_sizes)

    def step_size(self, stage: int) -> float:
        """Return the learned step size of ``stage`` (1-based)."""
        return float(self.step_sizes[stage - 1])

    def up_to(self, stage: int) -> SyntheticSet:
        """Return U_stage."""
        chosen = self._rows(self.stage <= stage)
        return replace(chosen, step_sizes=self.step_sizes[:stage])

    def only(self, stage: int) -> SyntheticSet:
        """Return S_stage; its images keep their stage number."""
        return self._rows(self.stage == stage)

    def extend(
        self, images: Tensor, labels: Tensor, pixels: Tensor, step_size: float
    ) -> SyntheticSet:
        """Return the union with a new stage; the images of earlier stages stay as they are."""
        number = self.stages + 1
        return replace(
            self,
            images=torch.cat([self.images, images]),
            labels=torch.cat([self.labels, labels]),
            stage=torch.cat([self.stage, torch.full_like(labels, number)]),
            step_sizes=torch.cat([self.step_sizes, torch.tensor([step_size], dtype=torch.float64)]),
            pixels=torch.cat([self.pixels, pixels]),
        )

    def save(self, folder: Path) -> None:
        """Write the set to ``folder``, as one safetensors file that is readable without us."""
        tensors = {
            "images": self.images,
            "labels": self.labels,
            "stage": self.stage,
            "step_sizes": self.step_sizes,
            "pixels": self.pixels,
        }
        metadata: dict[str, Json] = {
            "schema": SCHEMA,
            "classes": list(self.classes),
            "preparation": self.preparation,
            "fingerprint": self.fingerprint,
        }
        save_tensors(folder / FILE, tensors, metadata)

    def _rows(self, mask: Tensor) -> SyntheticSet:
        return replace(
            self,
            images=self.images[mask],
            labels=self.labels[mask],
            stage=self.stage[mask],
            pixels=self.pixels[mask],
        )


def load_synthetic_set(folder: Path) -> SyntheticSet:
    """Return the set that :meth:`SyntheticSet.save` wrote to ``folder``.

    Raises:
        FormatError: if there is none, or of another schema.
    """
    tensors, metadata = load_tensors(folder / FILE)
    if metadata.get("schema") != SCHEMA:
        msg = f"{folder / FILE} has schema {metadata.get('schema')}, this version reads {SCHEMA}"
        raise FormatError(msg)
    return SyntheticSet(
        **tensors,
        classes=tuple(metadata["classes"]),
        preparation=metadata["preparation"],
        fingerprint=metadata["fingerprint"],
    )


def empty_set(
    shape: tuple[int, int, int], classes: tuple[str, ...], preparation: str, fingerprint: str
) -> SyntheticSet:
    """Return the union of no stages, to be extended; ``shape`` is (C, H, W)."""
    return SyntheticSet(
        images=torch.zeros(0, *shape),
        labels=torch.zeros(0, dtype=torch.int64),
        stage=torch.zeros(0, dtype=torch.int64),
        step_sizes=torch.zeros(0, dtype=torch.float64),
        pixels=torch.zeros(0, *shape),
        classes=classes,
        preparation=preparation,
        fingerprint=fingerprint,
    )
