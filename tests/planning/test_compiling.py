"""``compile: auto``: what it becomes, and that the key says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pdd_ray.api.plan_text import _compiled
from pdd_ray.data.facts import DataFacts
from pdd_ray.planning.compiling import is_compiled
from tests.planning.builders import FACTS, plan_of

if TYPE_CHECKING:
    from pdd_ray.planning.sweep_plan import SweepPlan

CIFAR = DataFacts(
    fingerprint="facts",
    classes=tuple(f"class {number}" for number in range(10)),
    shape=(3, 32, 32),
    train_counts=(5000,) * 10,
    test_counts=(1000,) * 10,
)
PAPER = {
    "model": {"name": "convnet", "width": 128},
    "experts": {"count": 2, "epochs": 50},
    "stages": {"count": 2, "images_per_class": 10},
}
TINY = {"name": "mtt", "iterations": 5, "max_start_epoch": 4, "selection": {"networks": 1}}
GPU = {"expert": {"gpus": 0.5}, "stage": {"gpus": 1}}


def choices(plan: SweepPlan) -> dict[str, set[bool | None]]:
    """Return what is compiled by kind of step."""
    found: dict[str, set[bool | None]] = {}
    for step in plan.steps:
        found.setdefault(step.kind, set()).add(is_compiled(step))
    return found


def keys(plan: SweepPlan) -> list[str]:
    return [step.key for step in plan.steps]


def test_small_steps_are_not_compiled() -> None:
    found = choices(plan_of())
    assert found["expert"] == found["stage"] == {False}
    assert found["data"] == found["start"] == found["evaluation"] == {None}


@pytest.mark.parametrize("method", ["mtt", "dc", "dsa", "dm", "idc", "dream", "cafe", "cafe_dsa"])
def test_every_method_is_compiled_at_the_scale_of_its_paper(method: str) -> None:
    for resources in ({}, GPU):
        plan = plan_of(CIFAR, **PAPER, method={"name": method}, resources=resources)
        assert choices(plan)["stage"] == {True}


def test_on_a_gpu_the_number_of_calls_decides() -> None:
    def plan(**resources: object) -> SweepPlan:
        short = {**TINY, "iterations": 1000, "inner_steps": 10, "max_start_epoch": 20}
        return plan_of(CIFAR, **PAPER, method=short, resources=resources)

    assert choices(plan())["stage"] == choices(plan())["expert"] == {True}
    for resources in (GPU, {"device": "cuda", **GPU}):
        found = choices(plan(**resources))
        assert found["stage"] == found["expert"] == {False}
    assert choices(plan(device="cpu"))["stage"] == {True}


def test_unrolled_gradients_are_never_compiled() -> None:
    plan = plan_of(CIFAR, **PAPER, method={"name": "mtt", "gradient": "unrolled"})
    assert choices(plan)["stage"] == {False}


@pytest.mark.parametrize("choice", [True, False])
def test_what_is_written_is_kept(choice: bool) -> None:
    experts = {"count": 2, "epochs": 8, "compile": choice}
    found = choices(plan_of(experts=experts, method={**TINY, "compile": choice}))
    assert found["expert"] == found["stage"] == {choice}


def test_the_key_is_that_of_the_choice_written_out() -> None:
    def written(choice: bool | str, facts: DataFacts, **method: object) -> list[str]:
        experts = {"count": 2, "epochs": 50, "compile": choice}
        chosen = {"name": "mtt", **method, "compile": choice}
        model = {"name": "convnet", "width": 128 if facts is CIFAR else 8, "depth": 2}
        changes = {"experts": experts, "method": chosen, "model": model}
        return keys(plan_of(facts, **changes))

    short = {key: value for key, value in TINY.items() if key != "name"}
    assert written("auto", FACTS, **short) == written(False, FACTS, **short)
    assert written("auto", CIFAR) == written(True, CIFAR)


def test_a_plan_says_how_many_steps_are_compiled() -> None:
    assert _compiled(plan_of().steps) == ["torch.compile: 0 of 4 expert steps, 0 of 2 stage steps"]
    large = plan_of(CIFAR, **PAPER)
    assert _compiled(large.steps)[0].startswith("torch.compile: 4 of 4 expert steps")
    assert _compiled([]) == []
