"""What the sweep took, from the manifests of its steps, and what the rest would take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdd_ray.core.errors import PddError
from pdd_ray.planning.estimate import estimate
from pdd_ray.planning.sweep_plan import plan_sweep
from pdd_ray.results.saved_sweeps import StepState

if TYPE_CHECKING:
    from collections.abc import Collection

    from pdd_ray.core.artifacts import Making
    from pdd_ray.core.steps import Step
    from pdd_ray.data.facts import DataFacts
    from pdd_ray.data.spec import DataSpec
    from pdd_ray.planning.estimate import RunEstimate
    from pdd_ray.results.report.snapshot import Snapshot
    from pdd_ray.results.saved_sweeps import SavedStep

MOST_LONGEST = 10
"""Longest steps that are named."""


@dataclass(frozen=True)
class KindUse:
    """What the finished steps of one kind took.

    Attributes:
        kind: The kind.
        steps: How many they are.
        seconds: Their times together.
        longest: The longest time.
        cpu_seconds: Their CPU time; where it was not measured, their times multiplied by threads.
        gpu_seconds: Their times, each multiplied by its GPUs.
        disk: Bytes of their artifacts.
        memory: Estimate for the largest step of the kind, done or not; None if it is not known.
    """

    kind: str
    steps: int
    seconds: float
    longest: float
    cpu_seconds: float
    gpu_seconds: float
    disk: int
    memory: float | None


@dataclass(frozen=True)
class ResourceUse:
    """What the sweep took and would take.

    Attributes:
        kinds: By kind of step, in the order of the method.
        total: All of them together.
        longest: The longest steps with their times, longest first.
        rest: Estimate for what is left; None if nothing is, or it is not known.
        not_known: Why there are no estimates, if there are none.
    """

    kinds: tuple[KindUse, ...]
    total: KindUse
    longest: tuple[tuple[SavedStep, float], ...]
    rest: RunEstimate | None
    not_known: str | None


def read_resources(snapshot: Snapshot) -> ResourceUse:
    """Return what the finished steps took, and estimates where the plan can be made again.

    Estimates need the facts of the data set, which a store remembers as long as the data lies
    where it lay.
    """
    plan, not_known = _plan_again(snapshot)
    memory: dict[str, float] = {}
    for step in plan:
        memory[step.kind] = max(memory.get(step.kind, 0.0), step.cost.memory)
    done = [step for step in snapshot.status.steps if step.key in snapshot.makings]
    left = [step for step in plan if snapshot.status.states[step.key] is not StepState.DONE]
    times = [(step, float(snapshot.makings[step.key].seconds)) for step in done]
    by_kind: dict[str, list[Making]] = {kind: [] for kind in snapshot.status.kinds}
    for one in done:
        by_kind[one.kind].append(snapshot.makings[one.key])
    return ResourceUse(
        kinds=tuple(_use(kind, found, memory.get(kind)) for kind, found in by_kind.items()),
        total=_use("all", snapshot.makings.values(), max(memory.values(), default=None)),
        longest=tuple(sorted(times, key=lambda pair: -pair[1])[:MOST_LONGEST]),
        rest=estimate(left, snapshot.store) if left else None,
        not_known=not_known,
    )


def _use(kind: str, makings: Collection[Making], memory: float | None) -> KindUse:
    seconds = [float(making.seconds) for making in makings]
    pairs = list(zip(seconds, makings, strict=True))
    return KindUse(
        kind=kind,
        steps=len(makings),
        seconds=sum(seconds),
        longest=max(seconds, default=0.0),
        cpu_seconds=sum(making.cpu_seconds for making in makings),
        gpu_seconds=sum(time * _or(making.maker.gpus, 0.0) for time, making in pairs),
        disk=sum(making.disk for making in makings),
        memory=memory,
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _plan_again(snapshot: Snapshot) -> tuple[tuple[Step, ...], str | None]:
    """Return the sweep's steps with their estimates; none, and why, if they can't be had."""
    facts: dict[str, DataFacts] = {}

    def read(spec: DataSpec) -> DataFacts:
        from pdd_ray.data.facts import read_facts

        name = spec.model_dump_json()
        if name not in facts:
            facts[name] = read_facts(spec, snapshot.store.facts)
        return facts[name]

    sweep = snapshot.sweep
    try:
        steps = plan_sweep(sweep.spec, sweep.experiments, read).steps
    except (PddError, OSError) as error:
        return (), str(error)
    if {step.key for step in steps} != set(snapshot.steps):
        return (), "the sweep was planned by another version of pdd-ray"
    return steps, None
