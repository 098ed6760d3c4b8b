"""The plan of a sweep in words and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from pdd_ray.cli.text import columns, size
from pdd_ray.estimate import estimate
from pdd_ray.saved_sweeps import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.fingerprint import Json
    from pdd_ray.steps import Step
    from pdd_ray.sweeping import PreparedSweep

SCHEMA = "pdd-ray/plan/1"
"""Names the layout of the JSON form; changes when a reader has to change."""


def plan_lines(prepared: PreparedSweep, cpus: int | None = None) -> list[str]:
    """Return what there is to do, by kind of step, and what it would take on ``cpus`` CPUs."""
    sweep, plan = prepared.sweep, prepared.plan
    shared = plan.requested - len(plan.steps)
    return [
        f"{sweep.name}: {prepared.experiments} experiments, {len(plan.evaluations)} evaluations",
        *([sweep.description.strip()] if sweep.description else []),
        *(_kinds(prepared) if prepared.missing else []),
        f"{len(plan.steps)} steps ({shared} more are shared), {len(prepared.cached)} cached, "
        f"{len(prepared.missing)} steps to do",
        *_what_it_takes(prepared, cpus),
        *(f"{problem}; it is set aside and made again" for problem in prepared.damaged.values()),
    ]


def plan_as_json(prepared: PreparedSweep, cpus: int | None = None) -> dict[str, Json]:
    """Return the plan with every step, and what it would take on ``cpus`` CPUs."""
    plan = prepared.plan
    found = estimate(prepared.missing, prepared.store, cpus)
    return {
        "schema": SCHEMA,
        "sweep": prepared.sweep.name,
        "store": str(prepared.store.root),
        "experiments": prepared.experiments,
        "evaluations": len(plan.evaluations),
        "requested": plan.requested,
        "cached": len(prepared.cached),
        "to_do": len(prepared.missing),
        "estimate": {**asdict(found), "measured": sorted(found.measured)},
        "steps": [_step_as_json(step, prepared) for step in plan.steps],
    }


def _what_it_takes(prepared: PreparedSweep, cpus: int | None) -> list[str]:
    if not prepared.missing:
        return []
    from pdd_ray.runtime.display import duration

    found = estimate(prepared.missing, prepared.store, cpus)
    kinds = in_order({step.kind for step in prepared.missing})
    sources = {
        "measured on this store": [kind for kind in kinds if kind in found.measured],
        "from a model": [kind for kind in kinds if kind not in found.measured],
    }
    speeds = [f"{', '.join(names)} {source}" for source, names in sources.items() if names]
    return [
        f"about {duration(found.seconds)} on {found.cpus} CPUs, {size(found.memory)} of memory, "
        f"{size(found.disk)} of disk (speed: {'; '.join(speeds)})"
    ]


def _kinds(prepared: PreparedSweep) -> list[str]:
    steps = Counter(step.kind for step in prepared.plan.steps)
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


def _step_as_json(step: Step, prepared: PreparedSweep) -> dict[str, Json]:
    return {
        "key": step.key,
        "kind": step.kind,
        "label": step.label,
        "cached": step.key in prepared.cached,
        "inputs": {name: parent.key for name, parent in step.inputs.items()},
        "operations": step.cost.operations,
        "disk": step.cost.disk,
        "memory": step.cost.memory,
    }
