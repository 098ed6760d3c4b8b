"""Facts about what commands read of a store: everything once, however many steps there are."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import pdd_ray
from pdd_ray.configuration import yaml
from pdd_ray.configuration.load import load_sweep
from pdd_ray.core import steps as steps_module
from pdd_ray.core import store as store_module
from pdd_ray.core.artifacts import Artifacts
from pdd_ray.core.errors import DamagedArtifactError
from pdd_ray.core.files import write_json
from pdd_ray.core.identities import digest
from pdd_ray.core.store import Store
from pdd_ray.results.report.experiments import _section
from pdd_ray.results.saved_sweeps import StepState, read_status
from tests.cli.conftest import TINY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pdd_ray.core.identities import Json
    from pdd_ray.core.steps import Step

CONTENT = {**yaml.parse(TINY, "tiny").plain(), "seeds": [0, 1]}  # type: ignore[dict-item]
RESULT = {
    "test_accuracy": 0.5,
    "validation_accuracy": 0.25,
    "test_images": 30,
    "step_size": 0.02,
}


def finish(step: Step, store: Store) -> None:
    """Commit an artifact of ``step`` with what commands read of it, and nothing trained."""
    folder = store.begin(step.key)
    write_json(folder / "result.json", RESULT)
    made = {
        "config": step.config,
        "inputs": {name: parent.key for name, parent in step.inputs.items()},
        "seconds": 2.0,
        "threads": 1,
        "gpus": 0.0,
        "finished": "2026-01-01T00:00:00Z",
    }
    store.commit(step.key, folder, made)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store on which the tiny sweep is finished, its plot and pictures written."""
    store = Store(tmp_path_factory.mktemp("once")).open()
    for step in pdd_ray.plan(CONTENT, store=store).steps:
        finish(step, store)
    folder = store.sweep_folder("tiny")
    (folder / "images").mkdir(parents=True)
    (folder / "accuracy.png").touch()
    assert pdd_ray.run(CONTENT, store=store, quiet=True).outcome.complete
    return store


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each small file of an artifact was read."""
    counted: Counter[str] = Counter()
    read = store_module._content

    def content(path: str) -> str:
        counted[path] += 1
        return read(path)

    monkeypatch.setattr(store_module, "_content", content)
    return counted


COMMANDS: dict[str, Callable[[Store], object]] = {
    "plan": lambda store: str(pdd_ray.plan(CONTENT, store=store)),
    "run": lambda store: pdd_ray.run(CONTENT, store=store, quiet=True),
    "table": lambda store: pdd_ray.table("tiny", store=store),
    "report": lambda store: pdd_ray.write_report("tiny", store=store),
}


@pytest.mark.parametrize(
    "command", ["plan", "run", "table", pytest.param("report", marks=pytest.mark.slow)]
)
def test_a_command_reads_every_manifest_once(store: Store, reads: Counter[str], command: str):
    COMMANDS[command](store)
    keys = [step.key for step in read_status("tiny", store).steps]
    expected = {store.file(key, "manifest.json") for key in keys}
    assert {path for path in reads if path.endswith("manifest.json")} == expected
    assert set(reads.values()) == {1}


def test_status_lists_each_folder_once_and_opens_no_artifact(
    store: Store, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
):
    listed: Counter[str] = Counter()
    names = store_module._names

    def counted(folder: Path, suffix: str = "") -> frozenset[str]:
        listed[str(folder.relative_to(store.root))] += 1
        return names(folder, suffix)

    monkeypatch.setattr(store_module, "_names", counted)
    monkeypatch.setattr(Store, "exists", lambda *_: pytest.fail("asked for a single artifact"))
    (status,) = pdd_ray.status("tiny", store=store)
    kinds = {f"artifacts/{step.kind}" for step in status.steps}
    assert listed == Counter([*kinds, "failures", "progress", "partial"])
    assert not reads
    assert set(status.states.values()) == {StepState.DONE}


def test_planning_makes_one_digest_per_step_of_an_experiment(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    made: list[str] = []

    def counted(value: Json) -> str:
        made.append(digest(value))
        return made[-1]

    monkeypatch.setattr(steps_module, "digest", counted)
    plan = pdd_ray.plan(CONTENT, store=store)
    (str(plan), plan.to_json())
    assert len(made) == sum(one.requested for one in plan.prepared.plans)
    assert set(made) == {step.key.rpartition("-")[2] for step in plan.steps}


def test_steps_of_one_experiment_share_what_they_have_in_common(store: Store):
    steps = pdd_ray.plan(CONTENT, store=store).steps
    evaluations = [step for step in steps if step.label.startswith("pdd/seed0/progressive")]
    assert len(evaluations) == 2
    assert len({id(step.config["training"]) for step in evaluations}) == 1
    assert len({id(step.resources) for step in evaluations}) == 1


def test_steps_are_saved_as_json_would_write_them(store: Store):
    text = (store.sweep_folder("tiny") / "steps.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"
    steps = pdd_ray.plan(CONTENT, store=store).steps
    assert json.loads(text) == [
        {
            "key": step.key,
            "kind": step.kind,
            "label": step.label,
            "inputs": {name: parent.key for name, parent in step.inputs.items()},
        }
        for step in steps
    ]


def test_the_yaml_of_settings_is_that_of_their_parts():
    for experiment in load_sweep("cpu/table4").settings:
        whole = experiment.spec.to_json()
        parts = [_section(key, json.dumps(value)) for key, value in whole.items()]
        assert "".join(parts) == yaml.dump(whole)


def test_what_is_set_aside_after_a_plan_is_made_again_by_its_next_one(store: Store, tmp_path: Path):
    other = Store(tmp_path).open()
    step = pdd_ray.plan(CONTENT, store=other).steps[0]
    finish(step, other)
    assert step.key in pdd_ray.plan(CONTENT, store=other).prepared.cached
    other.set_aside(step.key)
    assert step.key not in pdd_ray.plan(CONTENT, store=other).prepared.cached


def test_a_manifest_that_does_not_say_how_it_was_made_is_damaged(tmp_path: Path):
    store = Store(tmp_path).open()
    store.commit("data-1", store.begin("data-1"), {"inputs": {}})
    store.commit("data-2", store.begin("data-2"), {"seconds": 1.0})
    artifacts = Artifacts(store)
    assert artifacts.is_whole("data-1")
    assert artifacts.is_whole("data-2")
    assert artifacts.making("data-3") is None
    making = artifacts.making("data-1")
    assert making is not None
    with pytest.raises(DamagedArtifactError, match="how long it took"):
        _ = making.seconds
    with pytest.raises(DamagedArtifactError, match="how it was made"):
        artifacts.making("data-2")
