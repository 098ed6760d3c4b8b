"""What the steps of a plan would take: time from measured steps or a model, memory and disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store

MODEL_RATE = 1e10
"""Operations per second of a step where nothing was measured: one CPU thread, small networks."""
SHORTEST_SECONDS = 1.0
"""Of steps whose speed says something about larger ones."""
OVERHEAD_SECONDS = 0.1
"""Of every step, beside its computation."""
START_SECONDS = 10.0
"""Starting Ray and its first workers."""


@dataclass(frozen=True)
class RunEstimate:
    """What steps would take.

    Attributes:
        seconds: Time on ``cpus`` CPUs, start of Ray included.
        cpu_seconds: Sum over all steps.
        disk: Bytes of the artifacts.
        memory: Bytes that the largest steps would hold at the same time on all CPUs.
        cpus: CPUs that were assumed.
        measured: Kinds of steps whose speed was measured on this store; others are modelled.
    """

    seconds: float
    cpu_seconds: float
    disk: float
    memory: float
    cpus: int
    measured: frozenset[str]


def estimate(steps: Sequence[Step], store: Store, cpus: int | None = None) -> RunEstimate:
    """Return what executing ``steps`` would take.

    Args:
        steps: The steps to be done, inputs before what reads them.
        store: Where earlier steps tell how fast they were.
        cpus: CPUs to assume; this machine's if not given.
    """
    cpus = cpus or (os.cpu_count() or 1)
    rates = measured_rates(store, {step.kind for step in steps})
    seconds = {
        step.key: OVERHEAD_SECONDS + step.cost.operations / rates.get(step.kind, MODEL_RATE)
        for step in steps
    }
    cpu_seconds = sum(seconds[step.key] * max(step.resources.cpus, 1) for step in steps)
    longest = max(_path_lengths(steps, seconds).values(), default=0.0)
    largest = sorted((step.cost.memory for step in steps), reverse=True)[:cpus]
    return RunEstimate(
        seconds=max(longest, cpu_seconds / cpus) + (START_SECONDS if steps else 0.0),
        cpu_seconds=cpu_seconds,
        disk=sum(step.cost.disk for step in steps),
        memory=sum(largest),
        cpus=cpus,
        measured=frozenset(rates),
    )


def measured_rates(store: Store, kinds: Iterable[str]) -> dict[str, float]:
    """Return the operations per second of the finished steps of each kind in ``store``.

    Steps shorter than :data:`SHORTEST_SECONDS` spend their time on overhead, and don't count.
    """
    rates = {}
    for kind in kinds:
        manifests = [m for m in store.manifests(kind) if m.get("seconds", 0) >= SHORTEST_SECONDS]
        operations = sum(manifest.get("operations", 0.0) for manifest in manifests)
        if operations > 0:
            rates[kind] = operations / sum(manifest["seconds"] for manifest in manifests)
    return rates


def _path_lengths(steps: Sequence[Step], seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the time of the longest chain of steps that ends in each step."""
    lengths: dict[str, float] = {}
    for step in steps:
        before = [lengths.get(parent.key, 0.0) for parent in step.inputs.values()]
        lengths[step.key] = seconds[step.key] + max(before, default=0.0)
    return lengths
