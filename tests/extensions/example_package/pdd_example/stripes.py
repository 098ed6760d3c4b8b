"""Stripes: gray images whose class is the direction of their stripes, drawn when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from pdd_ray.core.frozen_model import FrozenModel
from pdd_ray.core.identities import digest
from pdd_ray.data.content import Channels, Content, Size
from pdd_ray.data.source import DataSource, RawSplit, array_split

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("horizontal", "vertical", "diagonal")
SIDE = 8


class StripesOptions(FrozenModel):
    """What is drawn."""

    per_class: int = Field(default=30, ge=3)
    """Training images per class; a third as many test images."""


class Stripes(DataSource):
    """Noisy stripes in three directions."""

    name: ClassVar[str] = "stripes"
    Options: ClassVar[type[FrozenModel]] = StripesOptions
    needs_root: ClassVar[bool] = False

    def content(self, cache: Path) -> Content:
        """Return what the data set holds; its fingerprint changes with what is drawn."""
        del cache  # there are no files whose content could be remembered
        train, test = self._sizes()
        return Content(
            fingerprint=digest({"source": self.name, "version": 1, "per_class": train}),
            classes=CLASSES,
            train_counts=(train,) * len(CLASSES),
            test_counts=(test,) * len(CLASSES),
            sizes=(Size(SIDE, SIDE, self.name),),
            channels=(Channels(1, self.name),),
        )

    def read(self) -> tuple[RawSplit, RawSplit]:
        """Return the training images and the test images."""
        train, test = self._sizes()
        return _draw(train, seed=0), _draw(test, seed=1)

    def _sizes(self) -> tuple[int, int]:
        per_class = cast("StripesOptions", self.options).per_class
        return per_class, per_class // 3


def _draw(per_class: int, seed: int) -> RawSplit:
    import numpy as np

    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIDE, :SIDE]
    waves = np.stack([np.sin(row), np.sin(column), np.sin(row + column)])
    labels = np.repeat(np.arange(len(CLASSES)), per_class)
    noise = rng.normal(scale=0.3, size=(len(labels), SIDE, SIDE))
    pixels = np.clip(127.5 * (1 + waves[labels] + noise), 0, 255).astype(np.uint8)
    return array_split(pixels[..., None], labels)
