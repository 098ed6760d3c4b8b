"""Pass: a unit of computation, as often as a step makes it; what estimates of time are sums of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Unit = Literal[
    "test_batch",
    "training_step",
    "training_epoch",
    "network",
    "matching_step",
    "unrolled_step",
    "matching_iteration",
    "dc_gradient",
    "dc_distance",
    "idc_gradient",
    "idc_distance",
    "dm_embedding",
    "dm_gradient",
    "cafe_features",
    "cafe_gradient",
    "dsa_training",
    "idc_training",
    "dc_training",
    "cutmix",
    "dsa_matching",
    "dsa_class",
    "idc_class",
    "preparation",
    "clustering",
    "selection",
]
"""Every unit whose operators are counted (``pdd_ray/planning/unit_counts.py``)."""


@dataclass(frozen=True)
class Pass:
    """``count`` times the unit ``unit`` of computation, on ``images`` images each time.

    ``test_batch`` is the pass of a batch through the network, forwards only; with
    ``training_step`` it is enough for most methods.
    """

    unit: Unit
    images: float = 0.0
    count: float = 1.0


def training_passes(
    images: float,
    batch_size: int,
    epochs: float,
    augmentation: str = "none",
    rule: str = "dsa",
    cutmix: float = 0.0,
) -> tuple[Pass, ...]:
    """Return the passes of training for ``epochs`` epochs on ``images`` images."""
    found = [Pass("training_epoch", 0.0, epochs)]
    for size, steps in batches(images, batch_size):
        count = steps * epochs
        found.append(Pass("training_step", size, count))
        if augmentation != "none":
            unit: Unit = (
                "dsa_training"
                if rule == "dsa"
                else "idc_training"
                if rule == "idc"
                else "dc_training"
            )
            found.append(Pass(unit, size, count))
        if cutmix:
            found.append(Pass("cutmix", size, count * cutmix))
    return tuple(found)


def forward_passes(images: float, batch_size: int, count: float = 1.0) -> tuple[Pass, ...]:
    """Return the passes of ``images`` images through the network, forwards, in batches."""
    return tuple(
        Pass("test_batch", size, steps * count) for size, steps in batches(images, batch_size)
    )


def batches(images: float, batch_size: int) -> list[tuple[float, float]]:
    """Return sizes and numbers of the batches of an epoch: whole ones, and a short last one."""
    whole, rest = divmod(images, batch_size)
    found = [(float(batch_size), float(whole)), (float(rest), 1.0)]
    return [(size, count) for size, count in found if size > 0 and count > 0]


def mean_batch(images: float, batch_size: float) -> float:
    """Return the mean size of the batches into which ``images`` images are cut."""
    return images / max(1, math.ceil(images / batch_size))
