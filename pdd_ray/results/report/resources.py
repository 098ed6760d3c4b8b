"""What the sweep took, from the manifests of its steps, and what the rest would take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pdd_ray.core.errors import PddError
from pdd_ray.planning.estimate import estimate
from pdd_ray.planning.sweep_plan import plan_sweep
from pdd_ray.results.saved_sweeps import StepState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    done = [step for step in snapshot.status.steps if step.key in snapshot.manifests]
    left = [step for step in plan if snapshot.status.states[step.key] is not StepState.DONE]
    times = [(step, float(snapshot.manifests[step.key]["seconds"])) for step in done]
    return ResourceUse(
        kinds=tuple(
            _use(kind, _manifests(snapshot, done, kind), memory.get(kind))
            for kind in snapshot.status.kinds
        ),
        total=_use("all", snapshot.manifests.values(), max(memory.values(), default=None)),
        longest=tuple(sorted(times, key=lambda pair: -pair[1])[:MOST_LONGEST]),
        rest=estimate(left, snapshot.store) if left else None,
        not_known=not_known,
    )


def _manifests(
    snapshot: Snapshot, steps: Iterable[SavedStep], kind: str
) -> list[Mapping[str, Any]]:
    return [snapshot.manifests[step.key] for step in steps if step.kind == kind]


def _use(kind: str, manifests: Iterable[Mapping[str, Any]], memory: float | None) -> KindUse:
    manifests = list(manifests)
    seconds = [float(manifest["seconds"]) for manifest in manifests]
    pairs = list(zip(seconds, manifests, strict=True))
    return KindUse(
        kind=kind,
        steps=len(manifests),
        seconds=sum(seconds),
        longest=max(seconds, default=0.0),
        cpu_seconds=sum(
            manifest.get("cpu_seconds", time * manifest.get("threads", 1))
            for time, manifest in pairs
        ),
        gpu_seconds=sum(time * manifest.get("gpus", 0.0) for time, manifest in pairs),
        disk=sum(file["size"] for manifest in manifests for file in manifest["files"].values()),
        memory=memory,
    )


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
