"""The plan of a sweep in words and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pdd_ray.cli.text import columns, size
from pdd_ray.saved_sweeps import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.fingerprint import Json
    from pdd_ray.steps import Step
    from pdd_ray.sweeping import PreparedSweep

SCHEMA = "pdd-ray/plan/1"
"""Names the layout of the JSON form; changes when a reader has to change."""


def plan_lines(prepared: PreparedSweep) -> list[str]:
    """Return what there is to do, by kind of step, and what it would take."""
    sweep, plan = prepared.sweep, prepared.plan
    missing = prepared.missing
    counts = f"{prepared.experiments} experiments, {len(plan.evaluations)} evaluations"
    shared = plan.requested - len(plan.steps)
    return [
        f"{sweep.name}: {counts}",
        *([sweep.description.strip()] if sweep.description else []),
        *_kinds(prepared),
        f"{len(plan.steps)} steps ({shared} more are shared), {len(prepared.cached)} cached, "
        f"{len(missing)} steps to do",
    ]


def plan_as_json(prepared: PreparedSweep) -> dict[str, Json]:
    """Return the plan with every step."""
    plan = prepared.plan
    return {
        "schema": SCHEMA,
        "sweep": prepared.sweep.name,
        "store": str(prepared.store.root),
        "experiments": prepared.experiments,
        "evaluations": len(plan.evaluations),
        "requested": plan.requested,
        "cached": len(prepared.cached),
        "to_do": len(prepared.missing),
        "steps": [_step_as_json(step, prepared) for step in plan.steps],
    }


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
