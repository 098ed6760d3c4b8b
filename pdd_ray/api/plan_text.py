"""The plan of a sweep in words and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from pdd_ray.core.operations import in_order
from pdd_ray.core.text import columns, size
from pdd_ray.planning.compiling import is_compiled
from pdd_ray.planning.estimate import estimate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.api.preparing import PreparedRun
    from pdd_ray.core.identities import Json
    from pdd_ray.core.steps import Step

SCHEMA = "pdd-ray/plan/1"
"""Names the layout of the JSON form; changes when a reader has to change."""


def plan_lines(prepared: PreparedRun, cpus: int | None = None) -> list[str]:
    """Return what there is to do, by kind of step, and what it would take on ``cpus`` CPUs."""
    collection = prepared.collection
    evaluations = sum(len(plan.evaluations) for plan in prepared.plans)
    return [
        f"{collection.name}: {prepared.experiments} experiments, {evaluations} evaluations",
        *([collection.description.strip()] if collection.description else []),
        *(_sweeps(prepared) if not collection.single else []),
        *(_kinds(prepared) if prepared.missing else []),
        f"{len(prepared.steps)} steps ({_shared(prepared)}), {len(prepared.cached)} cached, "
        f"{len(prepared.missing)} steps to do",
        *_compiled(prepared.steps),
        *_what_it_takes(prepared, cpus),
        *(f"{problem}; it is set aside and made again" for problem in prepared.damaged.values()),
    ]


def plan_as_json(prepared: PreparedRun, cpus: int | None = None) -> dict[str, Json]:
    """Return the plan with every step, and what it would take on ``cpus`` CPUs."""
    found = estimate(prepared.missing, prepared.store, cpus)
    return {
        "schema": SCHEMA,
        "sweep": prepared.collection.name,
        "sweeps": {plan.sweep.name: len(plan.steps) for plan in prepared.plans},
        "store": str(prepared.store.root),
        "experiments": prepared.experiments,
        "evaluations": sum(len(plan.evaluations) for plan in prepared.plans),
        "requested": sum(plan.requested for plan in prepared.plans),
        "cached": len(prepared.cached),
        "to_do": len(prepared.missing),
        "estimate": {**asdict(found), "measured": sorted(found.measured)},
        "steps": [_step_as_json(step, prepared) for step in prepared.steps],
    }


def _shared(prepared: PreparedRun) -> str:
    """Return how many steps the experiments would be without sharing."""
    shared = sum(plan.requested for plan in prepared.plans) - len(prepared.steps)
    return f"{shared} more are shared"


def _sweeps(prepared: PreparedRun) -> list[str]:
    """Return what each sweep of a collection would take alone, and what all take together."""
    rows = [["sweep", "experiments", "steps alone", "about, alone, on one CPU"]]
    for plan in prepared.plans:
        seconds = estimate(plan.steps, prepared.store, 1).cpu_seconds
        seeds = {
            (str(e.experiment.variant), str(e.experiment.axes), e.experiment.seed)
            for e in plan.evaluations
        }
        rows.append([plan.sweep.name, str(len(seeds)), str(len(plan.steps)), _duration(seconds)])
    alone = sum(len(plan.steps) for plan in prepared.plans)
    seconds = estimate(prepared.steps, prepared.store, 1).cpu_seconds
    return [
        *columns(rows),
        f"each sweep alone: {alone} steps; together: {len(prepared.steps)}, "
        f"about {_duration(seconds)} on one CPU",
    ]


def _duration(seconds: float) -> str:
    from pdd_ray.core.text import duration

    return duration(seconds)


def _what_it_takes(prepared: PreparedRun, cpus: int | None) -> list[str]:
    if not prepared.missing:
        return []
    found = estimate(prepared.missing, prepared.store, cpus)
    kinds = in_order({step.kind for step in prepared.missing})
    sources = {
        "measured on this store": [kind for kind in kinds if kind in found.measured],
        "from a model": [kind for kind in kinds if kind not in found.measured],
    }
    speeds = [f"{', '.join(names)} {source}" for source, names in sources.items() if names]
    return [
        f"about {_duration(found.seconds)} on {found.cpus} CPUs, {size(found.memory)} of memory, "
        f"{size(found.disk)} of disk (speed: {'; '.join(speeds)})"
    ]


def _compiled(steps: Iterable[Step]) -> list[str]:
    """Return in how many steps torch.compile is used: what `compile: auto` became."""
    choices = [(step.kind, choice) for step in steps if (choice := is_compiled(step)) is not None]
    total = Counter(kind for kind, _ in choices)
    compiled = Counter(kind for kind, choice in choices if choice)
    parts = [f"{compiled[kind]} of {total[kind]} {kind} steps" for kind in in_order(total)]
    return [f"torch.compile: {', '.join(parts)}"] if parts else []


def _kinds(prepared: PreparedRun) -> list[str]:
    steps = Counter(step.kind for step in prepared.steps)
    missing = Counter(step.kind for step in prepared.missing)
    rows = [["", "steps", "to do", "disk", "memory of one"]]
    for kind in in_order(steps):
        chosen = [step for step in prepared.missing if step.kind == kind]
        rows.append([kind, str(steps[kind]), str(missing[kind] or "-"), *_sizes(chosen)])
    return columns(rows)


def _sizes(steps: Iterable[Step]) -> list[str]:
    costs = [step.cost for step in steps]
    if not costs:
        return ["-", "-"]
    return [size(sum(cost.disk for cost in costs)), size(max(cost.memory for cost in costs))]


def _step_as_json(step: Step, prepared: PreparedRun) -> dict[str, Json]:
    return {
        "key": step.key,
        "kind": step.kind,
        "label": step.label,
        "cached": step.key in prepared.cached,
        "inputs": {name: parent.key for name, parent in step.inputs.items()},
        "compiled": is_compiled(step),
        "operations": step.cost.operations,
        "disk": step.cost.disk,
        "memory": step.cost.memory,
    }
