"""A whole sweep on digits: the same bytes serially and on Ray, and nothing done twice."""

import json

import pytest

from pdd_ray.configuration.expand import expand
from pdd_ray.configuration.sweep import SweepSpec
from pdd_ray.core.steps import run_serially
from pdd_ray.core.store import MANIFEST, Store
from pdd_ray.data.facts import read_facts
from pdd_ray.planning.sweep_plan import plan_sweep
from pdd_ray.results.finished_records import collect_records
from pdd_ray.runtime.interface import NoDisplay, RunOptions
from pdd_ray.runtime.run import run_on_ray

SWEEP = {
    "name": "tiny",
    "data": {"source": "digits"},
    "model": {"name": "convnet", "width": 4, "depth": 2},
    "experts": {"count": 2, "epochs": 2, "batch_size": 256, "learning_rate": 0.05},
    "transition": {"epochs": 3},
    "stages": {"count": 2, "images_per_class": 1},
    "evaluation": {
        "modes": ["progressive", "union", "sequential"],
        "epochs": 2,
        "networks": 1,
        "prefixes": "all",
    },
    "variants": {
        "mtt": {
            "method": {
                "iterations": 3,
                "inner_steps": 2,
                "expert_epochs": 1,
                "max_start_epoch": 2,
                "image_learning_rate": 10.0,
                "selection": {"every": 2, "networks": 1, "epochs": 2},
            },
        },
        "random": {
            "method": {"name": "random", "step_size": 0.05},
            "stages": {"count": 1, "images_per_class": 2},
        },
    },
}


def planned(store):
    sweep = SweepSpec.model_validate(SWEEP)
    return plan_sweep(sweep, expand(sweep), lambda spec: read_facts(spec, store.facts))


def run(folder):
    store = Store(folder).open()
    plan = planned(store)
    executed = []
    run_serially(plan.steps, store, lambda step: executed.append(step.key))
    return plan, store, executed


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return run(tmp_path_factory.mktemp("first"))


def contents(store):
    root = store.root / "artifacts"
    files = [path for path in root.rglob("*") if path.is_file() and path.name != MANIFEST]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_two_runs_make_the_same_bytes(first, tmp_path):
    plan, store, executed = first
    assert executed == [step.key for step in plan.steps]
    _, again, _ = run(tmp_path)
    expected, got = contents(store), contents(again)
    assert set(got) == set(expected)
    assert [name for name in expected if got[name] != expected[name]] == []


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_makes_the_same_bytes(first, tmp_path):
    _, serial, _ = first
    store = Store(tmp_path).open()
    plan = planned(store)
    report = run_on_ray(plan.steps, store, RunOptions(), NoDisplay())
    assert report.complete
    expected, got = contents(serial), contents(store)
    assert set(got) == set(expected)
    assert [name for name in expected if got[name] != expected[name]] == []


def test_running_again_does_nothing(first):
    _, store, _ = first
    assert run(store.root)[2] == []


def test_artifacts_hold_what_their_kind_promises(first):
    plan, store, _ = first
    files = {
        "data": {"dataset.safetensors"},
        "expert": {"trajectory.safetensors"},
        "start": {"parameters.safetensors"},
        "stage": {"synthetic.safetensors", "outcome.json", "curves.json", "images.png"},
        "coreset": {"synthetic.safetensors", "outcome.json", "curves.json", "images.png"},
        "evaluation": {"result.json", "state.safetensors"},
    }
    for step in plan.steps:
        store.verify(step.key)
        assert set(store.manifest(step.key)["files"]) == files[step.kind], step.label
    assert not list((store.root / "partial").iterdir())


def test_a_stage_keeps_its_curves_and_its_outcome(first):
    plan, store, _ = first
    (stage,) = {item.stage_step.key for item in plan.evaluations if _is(item, "mtt", 2)}
    outcome = json.loads((store.folder(stage) / "outcome.json").read_text())
    curves = json.loads((store.folder(stage) / "curves.json").read_text())
    assert outcome["stage"] == 2
    assert outcome["chosen_iteration"] in curves["candidate_iteration"] == [0, 2, 3]
    assert len(curves["loss"]) == 3
    assert list(store.tensorboard().glob("mtt.seed0.stage2-*/events*"))


def test_records_are_those_of_all_evaluations(first):
    plan, store, _ = first
    records = collect_records(plan, store)
    assert len(records) == len(plan.evaluations) == 9
    assert all(0 <= record.test_accuracy <= 1 for record in records)
    assert {record.test_images for record in records} == {517}
    random = [record for record in records if record.method == "random"]
    assert {record.step_size for record in random} == {0.05}


def _is(item, variant, stages):
    return (item.experiment.variant, item.stages) == (variant, stages)
