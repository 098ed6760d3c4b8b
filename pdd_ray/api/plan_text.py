"""The plan of a sweep in words and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from pdd_ray.core.operations import in_order
from pdd_ray.core.text import columns, size
from pdd_ray.planning.compiling import is_compiled
from pdd_ray.planning.estimate import THIS_MACHINE, Machine, RunEstimate, estimate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.api.preparing import PreparedRun
    from pdd_ray.core.identities import Json
    from pdd_ray.core.steps import Step

SCHEMA = "pdd-ray/plan/1"
"""Names the layout of the JSON form; changes when a reader has to change."""


def plan_lines(prepared: PreparedRun, machine: Machine = THIS_MACHINE) -> list[str]:
    """Return what there is to do, by kind of step, and what it would take on ``machine``."""
    collection = prepared.collection
    evaluations = sum(len(plan.evaluations) for plan in prepared.plans)
    return [
        f"{collection.name}: {prepared.experiments} experiments, {evaluations} evaluations",
        *([collection.description.strip()] if collection.description else []),
        *(_sweeps(prepared) if not collection.single else []),
        *(_kinds(prepared, machine) if prepared.missing else []),
        f"{len(prepared.steps)} steps ({_shared(prepared)}), {len(prepared.cached)} cached, "
        f"{len(prepared.missing)} steps to do",
        *_compiled(prepared.steps),
        *_what_it_takes(prepared, machine),
        *(
            f"planned with what is published of a data set; to run it: {problem}"
            for problem in prepared.absent
        ),
        *(f"{problem}; it is set aside and made again" for problem in prepared.damaged.values()),
    ]


def plan_as_json(prepared: PreparedRun, machine: Machine = THIS_MACHINE) -> dict[str, Json]:
    """Return the plan with every step, and what it would take on ``machine``."""
    found = estimate(prepared.missing, prepared.store, machine=machine)
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
        "absent": list(prepared.absent),
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


def _what_it_takes(prepared: PreparedRun, machine: Machine) -> list[str]:
    if not prepared.missing:
        return []
    found = estimate(prepared.missing, prepared.store, machine=machine)
    devices = f"{found.cpus} CPUs"
    if found.gpus:
        devices = f"{found.gpus} x {found.device} and {devices}"
    hours = [_hours(found.gpu_seconds, "GPU")] if found.gpus else []
    hours += [_hours(found.cpu_seconds, "CPU")] if found.cpu_seconds or not found.gpus else []
    return [
        f"about {_duration(found.seconds)} on {devices}: {', '.join(hours)}; "
        f"{size(found.memory)} of memory, {size(found.disk)} of disk ({_speeds(prepared, found)})",
        *_price(found, machine),
        *_assumptions(found, machine),
        *_too_large(found),
    ]


def _hours(seconds: float, device: str) -> str:
    return f"{seconds / 3600:,.{1 if seconds > 36000 else 2}f} {device}-hours"


def _speeds(prepared: PreparedRun, found: RunEstimate) -> str:
    """Return which kinds of steps are estimated from measured ones."""
    kinds = in_order({step.kind for step in prepared.missing})
    sources = {
        "measured on this store": [kind for kind in kinds if kind in found.measured],
        "from a model": [kind for kind in kinds if kind not in found.measured],
    }
    speeds = [f"{', '.join(names)} {source}" for source, names in sources.items() if names]
    return f"speed: {'; '.join(speeds)}"


def _price(found: RunEstimate, machine: Machine) -> list[str]:
    if found.price is None:
        return []
    count, name = (found.gpus, found.device) if found.gpus else (found.cpus, "CPU")
    return [
        f"price: {found.price:,.2f}, at {machine.price_per_hour:g} an hour for each of "
        f"{count} x {name} from the start to the end"
    ]


def _compiled(steps: Iterable[Step]) -> list[str]:
    """Return in how many steps torch.compile is used: what `compile: auto` became."""
    choices = [(step.kind, choice) for step in steps if (choice := is_compiled(step)) is not None]
    total = Counter(kind for kind, _ in choices)
    compiled = Counter(kind for kind, choice in choices if choice)
    parts = [f"{compiled[kind]} of {total[kind]} {kind} steps" for kind in in_order(total)]
    return [f"torch.compile: {', '.join(parts)}"] if parts else []


def _assumptions(found: RunEstimate, machine: Machine) -> list[str]:
    """Return what the estimate takes for granted of a GPU."""
    if not found.gpus:
        if machine.gpus or (machine.device and machine.gpu is not None):
            return [
                "no step holds a GPU, so all compute on CPUs; give them one, e.g. "
                "resources.stage.gpus=1 resources.expert.gpus=0.25"
            ]
        return []
    named = "" if machine.device else "; name yours with --device"
    return [
        f"assumed of the {found.device}: half its peak in "
        f"{'TF32' if machine.tf32 else 'float32'}, three quarters of its bandwidth, 100,000 "
        f"operators a second (docs/costs.md){named}"
    ]


def _too_large(found: RunEstimate) -> list[str]:
    if not found.too_large:
        return []
    first, *others = found.too_large
    more = f" and {len(others)} more" if others else ""
    return [
        f"too large for the share of the {found.device} that they hold: {first}{more}; "
        "let them hold more of it, or lower their batch sizes"
    ]


def _kinds(prepared: PreparedRun, machine: Machine) -> list[str]:
    steps = Counter(step.kind for step in prepared.steps)
    missing = Counter(step.kind for step in prepared.missing)
    on_gpu = any(step.resources.gpus for step in prepared.missing) and machine.gpu is not None
    rows = [["", "steps", "to do", "disk", "memory of one", *(["of a GPU"] if on_gpu else [])]]
    chosen: dict[str, list[Step]] = {kind: [] for kind in steps}
    for step in prepared.missing:
        chosen[step.kind].append(step)
    for kind in in_order(steps):
        gpu = [_gpu_memory(chosen[kind])] if on_gpu else []
        rows.append(
            [kind, str(steps[kind]), str(missing[kind] or "-"), *_sizes(chosen[kind]), *gpu]
        )
    return columns(rows)


def _gpu_memory(steps: Iterable[Step]) -> str:
    held = [step.cost.device_memory for step in steps if step.resources.gpus]
    return size(max(held)) if held else "-"


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
        "work": asdict(step.cost.work),
        "device_memory": step.cost.device_memory,
    }
