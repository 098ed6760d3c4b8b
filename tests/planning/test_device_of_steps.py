"""Which device steps are planned for, and which sweeps ask for one that their steps do not hold."""

from __future__ import annotations

from typing import Any

import pytest

from pdd_ray.configuration.devices import COMPUTING, computing_kinds
from pdd_ray.configuration.load import load_sweep, sweep_from
from pdd_ray.core.errors import ConfigError
from pdd_ray.planning.sweep_plan import plan_sweep
from tests.planning.builders import FACTS, SWEEP, plan_of

ONE_STAGE = {"count": 1, "images_per_class": 1}
CASES: dict[str, dict[str, Any]] = {
    "trajectory matching": {},
    "one stage": {"stages": ONE_STAGE},
    "without transition": {
        "method": {**SWEEP["method"], "transition": False},
        "experts": {"count": 1, "epochs": 9},
    },
    "difficulty": {"method": {**SWEEP["method"], "difficulty": {}}},
    "a bank": {"method": {"name": "dm"}},
    "a bank, without transition": {"method": {"name": "dm", "transition": False}},
    "random images": {"method": "random", "stages": ONE_STAGE},
    "features": {"method": "herding", "stages": ONE_STAGE},
    "scores": {"method": "forgetting", "stages": ONE_STAGE},
    "all real images": {"evaluation": {"modes": ["full"]}},
    "both": {"evaluation": {"modes": ["full", "union"]}},
    "phases": {"method": {"name": "dm"}, "continual": {"phases": 3}},
}


@pytest.mark.parametrize("case", CASES)
def test_the_kinds_that_use_a_device_are_those_of_the_planned_steps(case: str):
    loaded = sweep_from({**SWEEP, **CASES[case]})
    steps = plan_sweep(loaded.spec, loaded.experiments, lambda _spec: FACTS).steps
    planned = {step.operation.resources for step in steps}
    (experiment,) = loaded.experiments
    assert {*computing_kinds(experiment.spec)} == planned & {*COMPUTING}
    assert planned - {*COMPUTING} == {"data"}


def test_data_are_prepared_on_the_cpu_and_all_else_is_computed_where_it_is_to_be():
    plan = plan_of(resources={"device": "cuda"})
    assert {(step.kind == "data", step.device) for step in plan.steps} == {
        (True, "cpu"),
        (False, "cuda"),
    }


def test_cuda_without_gpus_is_refused_at_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "sweep.yaml"
    resources = "{device: cuda, expert: {gpus: 0.5}, start: {gpus: 0.25}}"
    file.write_text(
        f"name: demo\nstages: {{count: 2, images_per_class: 1}}\nresources: {resources}"
    )
    with pytest.raises(ConfigError) as caught:
        load_sweep("sweep.yaml")
    assert str(caught.value) == (
        "sweep.yaml:3:13: resources.device: 'cuda' for stage and evaluation steps, which hold no "
        "GPU; give them one or a fraction of one (resources.stage.gpus, resources.evaluation.gpus),"
        " or use device 'auto': the CPU for steps without GPUs"
    )
    given = ["resources.stage.gpus=1", "resources.evaluation.gpus=0.25"]
    assert load_sweep("sweep.yaml", given).spec.resources.stage.gpus == 1
    load_sweep("sweep.yaml", ["resources.device=auto"])


def test_cuda_on_the_command_line_is_refused_as_well():
    with pytest.raises(ConfigError, match=r"^override resources\.device: 'cuda' for start and "):
        load_sweep("demo", ["resources.device=cuda"])


def test_a_variant_that_needs_no_experts_does_not_ask_for_their_gpus():
    gpus = {"device": "cuda", "stage": {"gpus": 1}, "evaluation": {"gpus": 0.5}}
    sweep_from({**SWEEP, "method": "random", "stages": ONE_STAGE, "resources": gpus})
    variants = {"one": {"method": "random"}, "other": {"method": "mtt"}}
    with pytest.raises(ConfigError, match="'cuda' for expert steps, which hold no GPU"):
        sweep_from({**SWEEP, "stages": ONE_STAGE, "variants": variants, "resources": gpus})


def test_more_gpus_than_a_step_can_use_are_refused():
    with pytest.raises(ConfigError, match=r"resources\.stage\.gpus: should be less than or equal"):
        sweep_from({**SWEEP, "resources": {"stage": {"gpus": 2}}})
