"""Which steps one worker is given at once: small ones in batches, alike ones in groups. Pure.

A *batch* is what one Ray task does: groups of steps, one after the other. A *group* is a single
step, or several that are alike and are computed at once (see :mod:`pdd_ray.core.groups`).
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdd_ray.core.steps import Resources, Step

    Batch = Sequence[Sequence[Step]]
    """Groups of steps that one worker does one after the other."""

BATCH_SECONDS = 10.0
"""Most work of a batch of several groups: what waits for its worker waits no longer than that."""
GPU_BATCH_SECONDS = 120.0
"""The same where steps hold a GPU: a new process, which takes some 10 s, is started for each."""
FIRST_RATE = 1e10
"""Operations per second of an operation of which nothing has ended in this run."""
STEP_SECONDS = 0.02
"""Of every step, beside its computation: reading inputs, committing the artifact."""


class Speeds:
    """How long steps take, by what steps of the same operation have taken in this run."""

    def __init__(self) -> None:
        self._operations: defaultdict[tuple[str, Resources], float] = defaultdict(float)
        self._seconds: defaultdict[tuple[str, Resources], float] = defaultdict(float)

    def observe(self, step: Step, seconds: float) -> None:
        """Take in that ``step`` has taken ``seconds``."""
        kind = step.operation.name, step.resources
        self._operations[kind] += step.cost.operations
        self._seconds[kind] += max(0.0, seconds - STEP_SECONDS)

    def seconds(self, step: Step) -> float:
        """Return how long ``step`` will take, about."""
        kind = step.operation.name, step.resources
        if self._seconds[kind] and self._operations[kind]:
            rate = self._operations[kind] / self._seconds[kind]
        else:
            rate = FIRST_RATE
        return STEP_SECONDS + step.cost.operations / rate


def most_steps(ready: int, slots: int, served: int, resources: Resources) -> int:
    """Return how many of ``ready`` steps that hold ``resources`` one worker may be given.

    There are never fewer batches than slots, that is, workers that may run side by side. Where
    workers are reused, each takes half of its share, so that those that turn out slow don't keep
    the others waiting at the end.

    Args:
        ready: Steps that no worker has been given.
        slots: Workers that may run side by side.
        served: Those that are given theirs at the same time, and have got it already.
        resources: What each step holds.
    """
    shares = (slots if resources.gpus else 2 * slots) - served
    return max(1, -(-ready // max(1, shares)))


def plan_batch(ready: Iterable[Step], most: int, speeds: Speeds) -> Batch:
    """Return the first of ``ready`` with those alike, and small ones behind it.

    Args:
        ready: Steps that hold the same resources, most urgent first, alike ones side by side.
        most: Most steps, at least 1.
        speeds: How long they take.
    """
    waiting = list(islice(ready, most))
    limit = GPU_BATCH_SECONDS if waiting[0].resources.gpus else BATCH_SECONDS
    batch: list[list[Step]] = []
    total = 0.0
    for group in _groups(waiting):
        total += sum(speeds.seconds(step) for step in group)
        if batch and total > limit:
            break
        batch.append(group)
    return batch


def _groups(steps: Sequence[Step]) -> list[list[Step]]:
    """Return ``steps`` in groups of neighbours that are alike, as large as they may be."""
    groups: list[list[Step]] = []
    for step in steps:
        last = groups[-1] if groups else []
        if last and step.likeness == last[0].likeness and len(last) < step.resources.group:
            last.append(step)
        else:
            groups.append([step])
    return groups
