"""Sweeps and facts of data sets for tests of planning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdd_ray.configuration.expand import expand
from pdd_ray.configuration.sweep import SweepSpec
from pdd_ray.data.facts import DataFacts
from pdd_ray.planning.sweep_plan import plan_sweep

if TYPE_CHECKING:
    from pdd_ray.core.steps import Step
    from pdd_ray.planning.sweep_plan import SweepPlan

FACTS = DataFacts(
    fingerprint="facts",
    classes=("ant", "bee", "cat"),
    shape=(1, 8, 8),
    train_counts=(40, 20, 30),
    test_counts=(10, 10, 10),
)

SWEEP: dict[str, Any] = {
    "name": "test",
    "data": {"source": "digits"},
    "model": {"name": "convnet", "width": 8, "depth": 2},
    "experts": {"count": 2, "epochs": 8},
    "method": {
        "name": "mtt",
        "iterations": 5,
        "max_start_epoch": 4,
        "expert_epochs": 2,
        "selection": {"every": 2, "networks": 1},
    },
    "stages": {"count": 2, "images_per_class": 1},
    "evaluation": {"networks": 1},
}


def sweep_of(**changes: object) -> SweepSpec:
    """Return the sweep of these tests with some of its keys replaced; dots go one level down."""
    document: dict[str, Any] = {
        key: dict(value) if isinstance(value, dict) else value for key, value in SWEEP.items()
    }
    for name, value in changes.items():
        key, _, inner = name.partition(".")
        if inner:
            document.setdefault(key, {})[inner] = value
        else:
            document[key] = value
    return SweepSpec.model_validate(document)


def plan_of(facts: DataFacts = FACTS, **changes: object) -> SweepPlan:
    """Return the plan of :func:`sweep_of`."""
    sweep = sweep_of(**changes)
    return plan_sweep(sweep, expand(sweep), lambda _spec: facts)


def by_name(plan: SweepPlan) -> dict[str, Step]:
    """Return the steps by label, without the name of their experiment."""
    return {step.label.partition("/seed0/")[2]: step for step in plan.steps}


def changed_names(**changes: object) -> set[str]:
    """Return the steps of the base plan whose keys are other ones after ``changes``."""
    before, after = by_name(plan_of()), by_name(plan_of(**changes))
    return {name for name, step in before.items() if step.key != after[name].key}
