"""What the sweeps of the paper take, written from the planner into their headers and their index.

    python -m docs.paper_costs

GPU-hours are those of the model in docs/costs.md, in float32, of steps with the shares of a GPU
that the sweeps give them. No data set is needed: what is published of them is known.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pdd_ray.configuration.load import load_sweep
from pdd_ray.data.facts import DataFacts, known_facts
from pdd_ray.planning.estimate import Machine, step_seconds
from pdd_ray.planning.sweep_plan import plan_sweep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.core.steps import Step
    from pdd_ray.data.spec import DataSpec
    from pdd_ray.planning.sweep_plan import SweepPlan

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "sweeps" / "paper"
INDEX = ROOT / "docs" / "paper_sweeps.md"
SWEEPS = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
FIRST = "table1"
"""The sweep that others share steps with."""
GPUS = ("H100 SXM", "A100 80GB", "RTX 3090")
COMMON = "A100 80GB"
"""The GPU of numbers that are printed for one only."""
COST = re.compile(r"^# Cost: .*$", re.M)
SHARED = re.compile(r"^# Shared with table1: .*$", re.M)
ROW = re.compile(r"^(\|[^|]*\| \[(\w+)\][^|]*\|[^|]*\|).*$", re.M)
TOTAL = re.compile(r"^\| all of them \|.*$", re.M)


@dataclass(frozen=True)
class Numbers:
    """What some steps take, as it is printed."""

    steps: str
    hours: tuple[str, ...]
    disk: str


@cache
def plan_of(name: str) -> SweepPlan:
    """Return the plan of a sweep of the paper, with what is published of its data sets."""
    sweep = load_sweep(f"paper/{name}")
    return plan_sweep(sweep.spec, sweep.experiments, published_facts)


def published_facts(spec: DataSpec) -> DataFacts:
    """Return what is published of a data set.

    Raises:
        LookupError: if nothing is.
    """
    facts = known_facts(spec.model_copy(update={"root": Path("/nowhere")}))
    if facts is None:
        raise LookupError(spec.source)
    return facts


def numbers(steps: Iterable[Step]) -> Numbers:
    """Return what ``steps`` take."""
    steps = tuple(steps)
    disk = sum(step.cost.disk for step in steps)
    hours = tuple(two_digits(gpu_hours(steps, device)) for device in GPUS)
    return Numbers(f"{len(steps):,}", hours, two_digits(disk / 1e9))


def gpu_hours(steps: Iterable[Step], device: str) -> float:
    """Return the GPU-hours of ``steps`` on a GPU."""
    machine = Machine(device=device)
    seconds = sum(step_seconds(s, machine) * s.resources.gpus for s in steps if s.resources.gpus)
    return seconds / 3600


def after_first(name: str) -> Numbers:
    """Return what is left of a sweep after :data:`FIRST`."""
    done = {step.key for step in plan_of(FIRST).steps}
    return numbers(step for step in plan_of(name).steps if step.key not in done)


def all_together() -> Numbers:
    """Return what all sweeps take on one store."""
    return numbers({step.key: step for name in SWEEPS for step in plan_of(name).steps}.values())


def with_current_header(name: str, text: str) -> str:
    """Return the file of a sweep with the costs that the planner says now."""
    found, left = numbers(plan_of(name).steps), after_first(name)
    on = ", ".join(
        f"{hours} on an {device}" for hours, device in zip(found.hours, GPUS, strict=True)
    )
    text = COST.sub(f"# Cost: about {on} (GPU-hours); {found.disk} GB of disk.", text)
    shared = len(plan_of(name).steps) - int(left.steps.replace(",", ""))
    hours = left.hours[GPUS.index(COMMON)]
    return SHARED.sub(
        f"# Shared with table1: {shared:,} steps, which leaves {hours} GPU-hours on an {COMMON}.",
        text,
    )


def with_current_index(text: str) -> str:
    """Return the index of the sweeps with the costs that the planner says now."""
    text = ROW.sub(lambda row: f"{row[1]} {' | '.join(_cells(row[2]))} |", text)
    every = all_together()
    cells = ["all of them", "", "", every.steps, "", *every.hours, "", every.disk]
    return TOTAL.sub(f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"), text)


def two_digits(value: float) -> str:
    """Return ``value`` with two significant digits."""
    if value == 0:
        return "0"
    digits = 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def _cells(name: str) -> list[str]:
    found = numbers(plan_of(name).steps)
    if name == FIRST:
        return [found.steps, "-", *found.hours, "-", found.disk]
    left = after_first(name)
    shared = len(plan_of(name).steps) - int(left.steps.replace(",", ""))
    hours = left.hours[GPUS.index(COMMON)]
    return [found.steps, f"{shared:,}", *found.hours, hours, found.disk]


def main() -> None:
    """Write the numbers into the headers and the index."""
    for name in SWEEPS:
        path = FOLDER / f"{name}.yaml"
        path.write_text(
            with_current_header(name, path.read_text(encoding="utf-8")), encoding="utf-8"
        )
    INDEX.write_text(with_current_index(INDEX.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
