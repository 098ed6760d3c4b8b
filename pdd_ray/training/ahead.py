"""Batches on the device before they are needed: the draws of many steps in one copy."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from pdd_ray.core.transfers import host_bytes, moved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from pdd_ray.training.loop import Batch, Batches

    Numbered = tuple[int, Batch]

STEPS = 64
"""Steps whose draws travel together; an epoch on a distilled set is often one step."""
BYTES = 2**25
"""Fewer steps travel together if their draws are larger (noise of DC's augmentation)."""


def epochs_on(
    images: Tensor, batches: Batches, epochs: Iterable[int]
) -> Iterator[tuple[int, Iterator[Batch]]]:
    """Yield every epoch with its batches, whose draws are on the device of ``images``.

    On the CPU a batch is drawn when it is asked for.

    Args:
        images: What is trained on, [N, C, H, W].
        batches: Gives the batches of an epoch.
        epochs: Their numbers.
    """
    if images.device.type == "cpu":
        yield from ((epoch, iter(batches(epoch))) for epoch in epochs)
        return
    drawn = ((epoch, _ready(batch, images)) for epoch in epochs for batch in batches(epoch))
    arrived = chain.from_iterable(moved(part, images.device) for part in _portions(drawn))
    for epoch, steps in groupby(arrived, key=itemgetter(0)):
        yield epoch, (batch for _, batch in steps)


def _ready(batch: Batch, images: Tensor) -> Batch:
    """Return ``batch`` with all that can be computed of its augmentation on the CPU."""
    shape = (len(batch.indices), *images.shape[1:])
    return replace(batch, augmentation=batch.augmentation.ready_for(shape, images.dtype))


def _portions(drawn: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    portion: list[Numbered] = []
    size = 0
    for numbered in drawn:
        portion.append(numbered)
        size += host_bytes(numbered)
        if len(portion) == STEPS or size >= BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
