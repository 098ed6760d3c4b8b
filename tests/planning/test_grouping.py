"""Experts, transitions and evaluations of a sweep, several at once: which, and what they make."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pdd_ray.configuration.load import sweep_from
from pdd_ray.core.artifact_files import RESULT, TRAINED_NETWORK
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.groups import execute_together
from pdd_ray.core.steps import execute, no_progress, run_serially
from pdd_ray.core.store import Store
from pdd_ray.core.tensors import load_tensors
from pdd_ray.data.facts import read_facts
from pdd_ray.models import grouped
from pdd_ray.planning.grouping import LAUNCH_BOUND_OPERATIONS, MOST_NETWORKS, group_size
from pdd_ray.planning.sweep_plan import plan_sweep
from pdd_ray.runtime.worker import execute_group_and_tell
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.training import evaluation, together
from pdd_ray.training.loop import PeriodicSave
from tests.planning.test_device import SWEEP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pdd_ray.core.steps import Step, StepCall

CHANGES: dict[str, Any] = {
    "experts": {**SWEEP["experts"], "count": 3, "momentum": 0.9},
    "evaluation": {**SWEEP["evaluation"], "modes": ["progressive"], "networks": 3},
}
ON_GPU: dict[str, Any] = {
    "resources": {kind: {"gpus": 1} for kind in ("start", "expert", "stage", "evaluation")}
}


def steps_of(changes: Mapping[str, Any], store: Store) -> Sequence[Step]:
    loaded = sweep_from({"name": "grouped", **SWEEP, **CHANGES, **ON_GPU, **changes})
    return plan_sweep(
        loaded.spec, loaded.experiments, lambda spec: read_facts(spec, store.facts)
    ).steps


def groups_of(steps: Sequence[Step]) -> list[list[Step]]:
    """Return the steps that may be computed at once, inputs before what reads them."""
    order = list(dict.fromkeys(step.likeness for step in steps))
    ranked = sorted(steps, key=lambda step: order.index(step.likeness))
    return [list(group) for _, group in groupby(ranked, key=lambda step: step.likeness)]


def calls_on(device: str, steps: Sequence[Step]) -> list[StepCall]:
    return [replace(step.call, device=device) for step in steps]


def tensors_of(store: Store, step: Step) -> dict[str, torch.Tensor]:
    files = sorted(store.folder(step.key).glob("*.safetensors"))
    return {
        f"{path.name}/{name}": value
        for path in files
        for name, value in load_tensors(path)[0].items()
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the artifacts of all steps, each made alone on the CPU."""
    store = Store(tmp_path_factory.mktemp("alone")).open()
    run_serially([replace(step, device="cpu") for step in steps_of({}, store)], store)
    return store


# --- which ----------------------------------------------------------------------------------------


def test_steps_that_differ_in_their_number_only_are_alike(tmp_path: Path):
    steps = steps_of({}, Store(tmp_path).open())
    sizes = {(group[0].operation.name, len(group)) for group in groups_of(steps)}
    assert sizes == {
        ("data", 1),
        ("stage", 1),
        ("expert", 3),
        ("start", 4),  # of the experts and of the networks that choose
        ("evaluation", 3),
    }
    labels = [sorted(step.label.rpartition("/")[0] for step in group) for group in groups_of(steps)]
    assert all(len(set(group)) == 1 for group in labels)


def test_on_a_cpu_no_steps_are_alike(tmp_path: Path):
    steps = steps_of({"resources": {}}, Store(tmp_path).open())
    assert {step.resources.group for step in steps} == {1}
    assert len(groups_of(steps)) == len(steps)


@pytest.mark.parametrize(
    ("operations", "size"),
    [
        (0.0, MOST_NETWORKS),
        (LAUNCH_BOUND_OPERATIONS / 5, 5),
        (LAUNCH_BOUND_OPERATIONS * 0.6, 1),
        (LAUNCH_BOUND_OPERATIONS * 9, 1),
    ],
)
def test_a_gpu_takes_as_many_networks_as_it_computes_in_the_launches_of_one(
    operations: float, size: int
):
    resources = sweep_from({"name": "x", **SWEEP, **ON_GPU}).spec.resources
    assert group_size(resources, "evaluation", operations) == size


def test_what_is_computed_in_another_way_is_done_alone(tmp_path: Path):
    store = Store(tmp_path).open()

    def sizes(changes: dict[str, Any]) -> dict[str, int]:
        return {step.kind: step.resources.group for step in steps_of(changes, store)}

    assert sizes({})["expert"] > 1
    for setting in ({"compile": True}, {"precision": "bfloat16"}, {"channels_last": True}):
        assert sizes({"experts": {**CHANGES["experts"], **setting}})["expert"] == 1
    assert set(sizes({"deterministic": True}).values()) == {1}
    asked = {"resources": {**ON_GPU["resources"], "evaluation": {"gpus": 0.5, "group": 2}}}
    assert sizes(asked)["evaluation"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resources": {"evaluation": {"group": 5}}}, "on a CPU networks are trained one by one"),
        ({"resources": {"stage": {"gpus": 1, "group": 2}}}, "only start, expert, evaluation"),
        (
            {"resources": {"expert": {"gpus": 1, "group": 2}}, "deterministic": True},
            "with `deterministic` networks are trained one by one",
        ),
    ],
)
def test_groups_that_cannot_be_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=rf"resources\.\w+\.group.*{message}"):
        sweep_from({"name": "x", **SWEEP, **changes})


# --- what they make -------------------------------------------------------------------------------


def test_all_steps_at_once_make_what_each_makes_alone(alone: Store, tmp_path: Path):
    store = Store(tmp_path).open()
    for group in groups_of(steps_of({}, store)):
        for parent in {parent.key: parent for step in group for parent in step.inputs.values()}:
            if not store.exists(parent):  # the same inputs: rounding would grow from step to step
                store.folder(parent).parent.mkdir(parents=True, exist_ok=True)
                store.folder(parent).symlink_to(alone.folder(parent))
        if len(group) == 1:
            continue
        with fake_device():
            assert execute_together(calls_on(DEVICE, group), store, [no_progress] * len(group))
        for step in group:
            expected = tensors_of(alone, step)
            for name, value in tensors_of(store, step).items():
                torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
            assert store.manifest(step.key)["together"] == len(group)
            assert store.manifest(step.key)["label"] == step.label
            assert f"{len(group)} steps are done" in store.log_path(step.key).read_text()
            if step.kind == "evaluation":
                found, wanted = (
                    json.loads((each.folder(step.key) / RESULT).read_text())
                    for each in (store, alone)
                )
                assert found["test_accuracy"] == pytest.approx(wanted["test_accuracy"], abs=0.02)


def some_evaluations(alone: Store, store: Store) -> list[Step]:
    """Return the evaluations of the first stage, with their inputs in ``store``."""
    steps = steps_of({}, store)
    [group, *_] = [g for g in groups_of(steps) if g[0].operation.name == "evaluation"]
    for parent in group[0].inputs.values():
        store.folder(parent.key).parent.mkdir(parents=True, exist_ok=True)
        store.folder(parent.key).symlink_to(alone.folder(parent.key))
    return group


def test_a_group_goes_on_from_what_was_saved_for_each(
    alone: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = Store(tmp_path).open()
    group = some_evaluations(alone, store)
    monkeypatch.setattr(together, "PeriodicSave", lambda save, _seconds: PeriodicSave(save, 0.0))
    reports: list[Mapping[str, float]] = []

    def stops(progress: Mapping[str, float]) -> None:
        reports.append(progress)
        if len(reports) == len(group) + 1:  # the first report after the first save of all
            raise KeyboardInterrupt

    with fake_device(), pytest.raises(KeyboardInterrupt):
        execute_together(calls_on(DEVICE, group), store, [stops] * len(group))
    saved = [load_tensors(path)[1]["epoch"] for path in store.root.glob("partial/*/*.safetensors")]
    assert saved == [1] * len(group)
    with fake_device():
        execute(calls_on(DEVICE, group)[0], store)  # one of them goes on alone, the others together
        assert execute_together(calls_on(DEVICE, group)[1:], store, [no_progress] * 2)
    for step in group:
        expected = load_tensors(alone.folder(step.key) / TRAINED_NETWORK)[0]
        for name, value in load_tensors(store.folder(step.key) / TRAINED_NETWORK)[0].items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_grouped_is_done_one_by_one_and_says_why(
    alone: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = Store(tmp_path).open()
    group = some_evaluations(alone, store)
    monkeypatch.setattr(grouped, "UNCHANGED", ())
    with fake_device():
        outcomes = list(execute_group_and_tell(calls_on(DEVICE, group), str(tmp_path), no_progress))
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    log = store.log_path(group[0].key).read_text()
    assert "no grouped form is known of ReLU" in log
    assert "together" not in store.manifest(group[0].key)


def test_one_that_fails_does_not_take_the_others_of_its_group_along(
    alone: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = Store(tmp_path).open()
    group = some_evaluations(alone, store)
    original = evaluation._first_state

    def first_state(context: Any, *arguments: Any) -> Any:  # noqa: ANN401 - as it is
        state = original(context, *arguments)
        if context.config["network"] == 1:
            with torch.no_grad():
                next(state.model.parameters()).fill_(float("nan"))
        return state

    monkeypatch.setattr(evaluation, "_first_state", first_state)
    with fake_device():
        outcomes = list(execute_group_and_tell(calls_on(DEVICE, group), str(tmp_path), no_progress))
    found = {
        step.config["network"]: outcome.status
        for step, outcome in zip(group, outcomes, strict=True)
    }
    assert found == {0: "done", 1: "failed", 2: "done"}


def test_on_the_cpu_each_has_the_bytes_that_it_has_alone(alone: Store, tmp_path: Path):
    store = Store(tmp_path).open()
    group = some_evaluations(alone, store)
    outcomes = list(execute_group_and_tell(calls_on("cpu", group), str(tmp_path), no_progress))
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    for step in group:
        one, other = (
            {name: file["digest"] for name, file in each.manifest(step.key)["files"].items()}
            for each in (store, alone)
        )
        assert one == other
