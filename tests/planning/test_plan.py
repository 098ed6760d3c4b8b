"""The plan of a sweep: which steps there are, what they share, and what makes their keys."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from pdd_ray.configuration.expand import expand
from pdd_ray.configuration.experiment import ExperimentSpec, ResourcesSpec
from pdd_ray.configuration.methods.trajectory_matching import TrajectoryMatchingSpec
from pdd_ray.core.errors import ConfigError, DamagedArtifactError
from pdd_ray.core.store import Store
from pdd_ray.planning.checks import experiment_id
from pdd_ray.planning.stage_steps import expert_epochs
from pdd_ray.planning.sweep_plan import plan_experiment, planned_records
from pdd_ray.results.finished_records import collect_records
from tests.effort import python_calls
from tests.planning.builders import FACTS, SWEEP, by_name, changed_names, plan_of, sweep_of

STAGES = {"stage1", "stage2"}
EXPERTS = {f"stage{stage}/expert{chain}" for stage in (1, 2) for chain in (0, 1)}
STARTS = {f"stage2/start{chain}" for chain in (0, 1, 2)}
LAST = "progressive2-e666/convnet-w8-d2/network0"
EVALUATIONS = {f"progressive{stage}-e666/convnet-w8-d2/network0" for stage in (1, 2)}
ALL = {"data"} | STAGES | EXPERTS | STARTS | EVALUATIONS
AFTER_STAGE1 = {"stage2"} | STARTS | {name for name in EXPERTS if name.startswith("stage2")}


def kinds(plan):
    counts = {}
    for step in plan.steps:
        counts[step.kind] = counts.get(step.kind, 0) + 1
    return counts


def grid(axis, *values):
    return {"grid": {axis: list(values)}}


def test_an_experiment_is_the_paper_s_algorithm():
    assert set(by_name(plan_of())) == ALL
    steps = by_name(plan_of(stages={"count": 3, "images_per_class": 1}))
    inputs = {name: {k: v.key for k, v in step.inputs.items()} for name, step in steps.items()}
    key = {name: step.key for name, step in steps.items()}
    assert inputs["stage1/expert0"] == {"data": key["data"]}
    assert inputs["stage1"] == {
        "data": key["data"],
        "expert.0": key["stage1/expert0"],
        "expert.1": key["stage1/expert1"],
    }
    assert inputs["stage2/start1"] == {"stage": key["stage1"]}
    assert inputs["stage3/start1"] == {"stage": key["stage2"], "start": key["stage2/start1"]}
    assert inputs["stage3/expert1"] == {"data": key["data"], "start": key["stage3/start1"]}
    assert inputs["stage3"] == {
        "data": key["data"],
        "previous": key["stage2"],
        "expert.0": key["stage3/expert0"],
        "expert.1": key["stage3/expert1"],
        "held_out.2": key["stage3/start2"],
    }
    name = "progressive{}-e500/convnet-w8-d2/network0"
    assert inputs[name.format(1)] == {"data": key["data"], "stage": key["stage1"]}
    assert inputs[name.format(3)] == {
        "data": key["data"],
        "stage": key["stage3"],
        "previous": key[name.format(2)],
    }


def test_inputs_come_before_what_reads_them():
    plan = plan_of(**grid("method.max_start_epoch", 2, 4), seeds=[0, 1])
    seen = set()
    for step in plan.steps:
        assert {parent.key for parent in step.inputs.values()} <= seen
        assert step.key not in seen
        seen.add(step.key)


def test_more_stages_share_their_prefix():
    sizes = [{"count": count, "images_per_class": 1} for count in (1, 2, 3)]
    together = plan_of(**grid("stages", *sizes))
    longest = plan_of(stages=sizes[-1])
    making = ("data", "stage", "start", "expert")
    assert {k: kinds(together)[k] for k in making} == {k: kinds(longest)[k] for k in making}
    assert {step.key for step in together.steps if step.kind in making} == {
        step.key for step in longest.steps if step.kind in making
    }
    # the epochs of an evaluation depend on the number of stages: 1 + 2 + 3 networks
    assert kinds(together)["evaluation"] == 6
    assert together.requested == sum(len(plan_of(stages=size).steps) for size in sizes)


def test_evaluations_of_equal_epochs_share_their_prefix_too():
    sizes = [{"count": count, "images_per_class": 1} for count in (1, 2, 3)]
    plan = plan_of(**grid("stages", *sizes), **{"evaluation.epochs": 10})
    assert kinds(plan)["evaluation"] == 3
    assert len(plan.evaluations) == 3


def test_settings_that_differ_in_max_start_epoch_share_the_first_experts():
    plan = plan_of(**grid("method.max_start_epoch", 2, 4))
    first = [step for step in plan.steps if step.kind == "expert" and "start" not in step.inputs]
    assert len(first) == 2
    assert kinds(plan) == {"data": 1, "expert": 2 + 4, "stage": 4, "start": 6, "evaluation": 4}


def test_seeds_share_the_data_only():
    plan = plan_of(seeds=[0, 1])
    assert kinds(plan)["data"] == 1
    assert len(plan.steps) == 2 * (len(plan_of().steps) - 1) + 1


def test_random_selection_needs_no_experts():
    plan = plan_of(method={"name": "random"}, stages=[{"images_per_class": 2}])
    assert kinds(plan) == {"data": 1, "coreset": 1, "evaluation": 1}
    assert {step.runs_as for step in plan.steps} == {"task"}


def test_stages_of_a_method_are_trials():
    for step in plan_of().steps:
        assert step.runs_as == ("trial" if step.kind == "stage" else "task")


def test_the_modes_share_the_first_stage():
    changes = {"evaluation.modes": ["progressive", "union", "sequential"], "evaluation.epochs": 9}
    plan = plan_of(**changes)
    by_mode = {item.mode: item for item in plan.evaluations}
    first = [by_mode[mode].step.inputs["previous"].key for mode in ("progressive", "sequential")]
    assert first[0] == first[1]
    assert len({item.step.key for item in plan.evaluations}) == 3
    assert by_mode["union"].step.config["subset"] == "union"
    assert "previous" not in by_mode["union"].step.inputs
    assert by_mode["sequential"].step.config["subset"] == "stage"


def test_all_prefixes_can_be_evaluated():
    changes = {"evaluation.prefixes": "all", "evaluation.epochs": 9, "evaluation.networks": 2}
    plan = plan_of(stages={"count": 3, "images_per_class": 1}, **changes)
    assert [(item.stages, item.network) for item in plan.evaluations] == [
        (stages, network) for stages in (1, 2, 3) for network in (0, 1)
    ]
    assert kinds(plan)["evaluation"] == 6
    assert all(item.stage_step.label.endswith(f"stage{item.stages}") for item in plan.evaluations)


@pytest.mark.parametrize(
    ("stages", "epochs", "progressive", "union"),
    [
        (1, "paper", 1000, 1000),
        (5, "paper", 333, 1000),
        (2, "paper", 666, 1000),
        (5, 100, 100, 300),
    ],
)
def test_epochs_follow_the_paper_s_rule(stages, epochs, progressive, union):
    changes = {"evaluation.modes": ["progressive", "union"], "evaluation.epochs": epochs}
    plan = plan_of(stages={"count": stages, "images_per_class": 1}, **changes)
    assert [item.epochs for item in plan.evaluations] == [progressive, union]
    assert all(item.step.config["training"]["epochs"] == item.epochs for item in plan.evaluations)


def test_epochs_of_a_union_can_be_given():
    changes = {"evaluation.modes": ["union"], "evaluation.union_epochs": 7}
    assert [item.epochs for item in plan_of(**changes).evaluations] == [7]


def test_later_experts_are_as_long_as_segments_reach():
    method = TrajectoryMatchingSpec(max_start_epoch=4, expert_epochs=2)
    assert expert_epochs(50, method, 1) == 50
    assert expert_epochs(50, method, 2) == 5  # segments start at 0 .. 3 and are 2 epochs long
    plan = by_name(plan_of())
    assert plan["stage2/expert0"].config["epochs"] == 5


# --- identity ------------------------------------------------------------------------------------


def method_with(**changes):
    return {"method": {**SWEEP["method"], **changes}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data.split_seed": 1}, ALL),
        ({"data.preprocessing": "zca"}, ALL),
        ({"model": {"name": "convnet", "width": 8, "depth": 2, "pooling": "max"}}, None),
        ({"experts.epochs": 9}, ALL - {"data"}),
        ({"experts.learning_rate": 0.02}, ALL - {"data"}),
        ({"experts.storage": "float16"}, ALL - {"data"}),
        ({"transition": {"epochs": 7}}, AFTER_STAGE1 | {LAST}),
        (method_with(iterations=6), STAGES | AFTER_STAGE1 | EVALUATIONS),
        (method_with(max_start_epoch=3), STAGES | AFTER_STAGE1 | EVALUATIONS),
        (method_with(selection={"every": 3, "networks": 1}), STAGES | AFTER_STAGE1 | EVALUATIONS),
        ({"evaluation.momentum": 0.8}, EVALUATIONS),
        ({"evaluation.batch_size": 7}, EVALUATIONS),
        ({"evaluation.reset_momentum_at_decay": True}, EVALUATIONS),
        ({"evaluation.carry_momentum": False}, {LAST}),
    ],
)
def test_a_setting_changes_exactly_the_keys_that_depend_on_it(changes, expected):
    if expected is None:  # the label of the network changes with it
        before, after = plan_of(), plan_of(**changes)
        shared = {step.key for step in before.steps} & {step.key for step in after.steps}
        assert {key.split("-")[0] for key in shared} == {"data"}
    else:
        assert changed_names(**changes) == expected


def test_a_stage_s_own_setting_changes_that_stage_and_what_follows():
    stages = [{"images_per_class": 1}, {"images_per_class": 1, "method": {"inner_steps": 3}}]
    assert changed_names(stages=stages) == {"stage2", LAST}
    stages[1]["method"] = {"max_start_epoch": 3}
    own_experts = {"stage2/expert0", "stage2/expert1"}
    assert (
        changed_names(stages=stages)
        == {
            "stage2",
            "progressive2-e666/convnet-w8-d2/network0",
        }
        | own_experts
    )


def test_a_stage_s_own_setting_leaves_its_other_settings():
    stages = [{"images_per_class": 1, "method": {"selection": {"epochs": 3}}}]
    spec = ExperimentSpec.model_validate({**method_with(), "stages": stages})
    method = spec.stage_method(1)
    assert (method.selection.epochs, method.selection.every, method.selection.networks) == (3, 2, 1)
    assert method.max_start_epoch == 4


def test_more_experts_keep_the_ones_there_are():
    changed = changed_names(**{"experts.count": 3})
    assert changed == (STAGES | AFTER_STAGE1 | EVALUATIONS)
    assert not changed & {"stage1/expert0", "stage1/expert1"}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other", "description": "text"},
        {"resources": {"device": "cpu", "stage": {"cpus": 2, "gpus": 1, "memory_gb": 3}}},
        {"table": {"rows": ["seed"]}},
        {"data.root": "elsewhere", "data.download": True},
        {"evaluation.prefixes": "all"},
    ],
)
def test_what_does_not_change_the_result_changes_no_key(changes):
    assert changed_names(**changes) == set()


def test_the_content_of_the_data_changes_every_key():
    other = {step.key for step in plan_of(replace(FACTS, fingerprint="other")).steps}
    assert not other & {step.key for step in plan_of().steps}


def test_resources_are_those_of_the_kind():
    resources = {"stage": {"cpus": 2, "gpus": 0.5, "memory_gb": 3}, "device": "cuda"}
    for step in plan_of(resources=resources).steps:
        assert step.device == ("cpu" if step.kind == "data" else "cuda")
        expected = (2, 0.5, 3_000_000_000) if step.kind == "stage" else (1, 0, None)
        got = step.resources
        assert (got.cpus, got.gpus, got.memory) == expected


def test_variants_share_what_they_have_in_common():
    one = [{"images_per_class": 2}]
    variants = {"mtt": {}, "random": {"method": {"name": "random"}, "stages": one}}
    plan = plan_of(variants=variants)
    assert kinds(plan)["data"] == 1
    assert kinds(plan)["coreset"] == 1
    assert [item.experiment.variant for item in plan.evaluations] == ["mtt", "random"]


def test_labels_are_unique_and_say_what_a_step_is():
    changes = {"evaluation.modes": ["progressive", "union", "sequential"]}
    sizes = [{"count": 1, "images_per_class": 2}, {"count": 2, "images_per_class": 1}]
    plan = plan_of(
        **changes,
        grid={"stages": sizes, "method.max_start_epoch": [2, 4]},
        seeds=[0, 1],
        variants={"a": {}, "b": {"method.inner_steps": 3}},
    )
    labels = [step.label for step in plan.steps]
    assert len(set(labels)) == len(labels)
    assert "a/stages=2x1/max_start_epoch=4/seed1/stage2/start0" in labels
    assert len({experiment_id(item.experiment) for item in plan.evaluations}) == 16


# --- what can't be done --------------------------------------------------------------------------


def test_too_many_images_per_class_are_refused():
    # bee: 20 train images, of which validation takes 2
    plan_of(stages=[{"images_per_class": 18}])
    with pytest.raises(ConfigError, match=r"base/seed0 needs 19 images .* class 'bee' has 18"):
        plan_of(stages=[{"images_per_class": 19}])


def test_every_stage_needs_real_images_of_its_own_only():
    plan_of(stages=[{"images_per_class": 10}, {"images_per_class": 10}])
    with pytest.raises(ConfigError, match="needs 20 images per class in stage 1"):
        plan_of(stages=[{"images_per_class": 20}])


def test_noise_needs_no_real_images():
    plan_of(stages=[{"images_per_class": 30}], **method_with(initialisation="noise"))


def test_too_short_experts_are_refused():
    plan_of(**{"experts.epochs": 5})
    with pytest.raises(
        ConfigError, match=r"of 4 epochs; .* need at least 5: raise experts\.epochs"
    ):
        plan_of(**{"experts.epochs": 4})


def test_later_stages_may_reach_further_than_the_first_experts():
    changes = {"images_per_class": 1, "method": {"max_start_epoch": 30}}
    steps = by_name(plan_of(stages=[{"images_per_class": 1}, changes]))
    assert steps["stage2/expert0"].config["epochs"] == 31


def test_a_network_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="too deep"):
        plan_of(model={"name": "convnet", "depth": 8})


# --- records -------------------------------------------------------------------------------------


def finish(store, key, result):
    folder = store.begin(key)
    (folder / "result.json").write_text(json.dumps(result))
    store.commit(key, folder, {"seconds": 2.5, "inputs": {}})


RESULT = {
    "test_accuracy": 0.5,
    "validation_accuracy": 0.25,
    "test_images": 30,
    "step_size": 0.02,
}


def test_records_say_what_was_evaluated(tmp_path):
    sizes = {"count": 3, "images_per_class": 2}
    plan = plan_of(stages=sizes, **{"evaluation.prefixes": "all"}, seeds=[4])
    store = Store(tmp_path).open()
    assert collect_records(plan, store) == []
    finish(store, plan.evaluations[1].step.key, RESULT)
    (record,) = collect_records(plan, store)
    assert (record.stages, record.total_stages) == (2, 3)
    assert (record.images_per_class, record.total_images_per_class) == (2, 4)
    assert (record.seed, record.variant, record.mode) == (4, "base", "progressive")
    assert (record.dataset, record.method, record.epochs) == ("digits", "mtt", 666)
    assert (record.test_accuracy, record.validation_accuracy) == (0.5, 0.25)
    assert (record.step_size, record.test_images, record.seconds) == (0.02, 30, 2.5)
    assert record.key == plan.evaluations[1].step.key
    assert record.stage_key == plan.evaluations[1].stage_step.key
    assert len(planned_records(plan)) == 3


def test_a_shared_evaluation_is_a_record_of_each_experiment(tmp_path):
    axes = grid("experts.epochs", 8, 9)
    plan = plan_of(**axes, method={"name": "random"}, stages=[{"images_per_class": 2}])
    store = Store(tmp_path).open()
    finish(store, plan.evaluations[0].step.key, RESULT)
    records = collect_records(plan, store)
    assert [record.axes for record in records] == [{"experts.epochs": 8}, {"experts.epochs": 9}]
    assert len({record.key for record in records}) == 1


@pytest.mark.parametrize("result", [{}, [], {"test_accuracy": 1}])
def test_an_unreadable_result_is_a_damaged_artifact(tmp_path, result):
    plan = plan_of()
    store = Store(tmp_path).open()
    finish(store, plan.evaluations[0].step.key, result)
    with pytest.raises(DamagedArtifactError, match=r"result\.json can't be read"):
        collect_records(plan, store)


# --- effort --------------------------------------------------------------------------------------


def test_the_effort_of_planning_grows_with_the_number_of_steps():
    def effort(stages):
        """Return the calls per step of a plan of the paper's scale."""
        options = {"experts.count": 100}
        sizes = {"count": stages, "images_per_class": 1}
        plan = plan_of(**options, stages=sizes)
        return python_calls(lambda: plan_of(**options, stages=sizes)) / len(plan.steps)

    assert (
        len(plan_of(**{"experts.count": 100}, stages={"count": 10, "images_per_class": 1}).steps)
        > 1900
    )
    assert effort(10) / effort(5) < 1.2


def test_planning_imports_neither_torch_nor_ray(tmp_path):
    code = (
        "import json, pathlib, sys\n"
        "from pdd_ray.data.facts import read_facts\n"
        "from pdd_ray.planning.sweep_plan import plan_sweep\n"
        "from pdd_ray.configuration.expand import expand\n"
        "from pdd_ray.configuration.sweep import SweepSpec\n"
        "sweep = SweepSpec.model_validate(json.loads(sys.argv[1]))\n"
        "cache = pathlib.Path(sys.argv[2])\n"
        "plan = plan_sweep(sweep, expand(sweep), lambda spec: read_facts(spec, cache))\n"
        "assert plan.steps and all(step.key for step in plan.steps)\n"
        "heavy = {'torch', 'ray', 'numpy', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, json.dumps(sweep_of().model_dump(mode="json")), str(tmp_path)],
        check=True,
    )


def test_one_experiment_can_be_planned_alone():
    (experiment,) = expand(sweep_of())
    evaluations = plan_experiment(experiment, FACTS, ResourcesSpec())
    assert [item.step.key for item in evaluations] == [
        item.step.key for item in plan_of().evaluations
    ]


# --- what methods need ---------------------------------------------------------------------------

THREE = {"count": 3, "images_per_class": 1}
SELECTING = {"count": 1, "images_per_class": 1}


def inputs_of(plan, name):
    return {key: step.key for key, step in by_name(plan)[name].inputs.items()}


def starting_with(inputs, prefix):
    return {key: value for key, value in inputs.items() if key.startswith(prefix)}


@pytest.mark.parametrize("name", ["dc", "dsa", "dm", "cafe", "cafe_dsa", "idc", "dream"])
def test_a_bank_of_transitioned_networks_is_an_input_of_later_stages(name):
    method = {"name": name, "bank_size": 3}
    if name == "dream":
        method["real_batch_size"] = 8
    plan = plan_of(method=method, stages=THREE)
    steps = by_name(plan)
    assert kinds(plan)["start"] == 2 * 3
    assert "expert" not in kinds(plan)
    assert set(inputs_of(plan, "stage1")) == {"data"}
    for stage in (2, 3):
        expected = {f"bank.{k}": steps[f"stage{stage}/start{k}"].key for k in range(3)}
        inputs = inputs_of(plan, f"stage{stage}")
        assert starting_with(inputs, "bank.") == expected
        assert set(inputs) == {"data", "previous", *expected}
    assert inputs_of(plan, "stage3/start1") == {
        "stage": steps["stage2"].key,
        "start": steps["stage2/start1"].key,
    }


def test_without_transition_there_is_no_bank():
    plan = plan_of(method={"name": "dm", "bank_size": 3, "transition": False}, stages=THREE)
    assert "start" not in kinds(plan)
    assert set(inputs_of(plan, "stage3")) == {"data", "previous"}


def test_a_curriculum_gives_each_stage_a_window_of_scores():
    method = {"name": "dm", "bank_size": 1, "difficulty": {"width": 2, "minimum": 5}}
    plan = plan_of(method=method, stages=THREE)
    steps = by_name(plan)
    assert kinds(plan)["scores"] == 1
    assert set(steps["scores"].inputs) == {"data"}
    for stage in (1, 2, 3):
        assert steps[f"stage{stage}"].config["window"] == {
            "low": 2.0 * (stage - 1),
            "high": 2.0 * stage,
            "minimum": 5,
        }
        assert inputs_of(plan, f"stage{stage}")["scores"] == steps["scores"].key


def test_a_curriculum_shows_experts_the_window_too():
    plan = plan_of(**method_with(difficulty={}))
    steps = by_name(plan)
    for stage in (1, 2):
        expert = steps[f"stage{stage}/expert0"]
        assert expert.config["window"] == steps[f"stage{stage}"].config["window"]
        assert expert.inputs["scores"].key == steps["scores"].key


def test_without_a_curriculum_there_are_no_scores_and_no_window():
    plan = plan_of()
    assert "scores" not in kinds(plan)
    assert all("window" not in step.config for step in plan.steps)


@pytest.mark.parametrize("name", ["herding", "k_center"])
def test_selections_by_features_read_those_of_the_first_expert(name):
    plan = plan_of(method={"name": name}, stages=SELECTING)
    steps = by_name(plan)
    assert kinds(plan) == {"data": 1, "expert": 1, "features": 1, "coreset": 1, "evaluation": 1}
    assert inputs_of(plan, "features") == {
        "data": steps["data"].key,
        "expert": steps["stage1/expert0"].key,
    }
    assert inputs_of(plan, "stage1") == {
        "data": steps["data"].key,
        "features": steps["features"].key,
    }


def test_the_selection_by_forgetting_reads_the_scores():
    plan = plan_of(method={"name": "forgetting"}, stages=SELECTING)
    steps = by_name(plan)
    assert kinds(plan) == {"data": 1, "scores": 1, "coreset": 1, "evaluation": 1}
    assert inputs_of(plan, "stage1") == {"data": steps["data"].key, "scores": steps["scores"].key}


def test_selections_by_features_share_them():
    plan = plan_of(method={"name": "herding"}, stages=SELECTING,
                   variants={"h": {}, "k": {"method": {"name": "k_center"}}})  # fmt: skip
    assert (kinds(plan)["features"], kinds(plan)["expert"], kinds(plan)["coreset"]) == (1, 1, 2)


def test_without_transition_later_stages_share_the_experts_of_the_first():
    changes = {"transition": False, "without_transition": "restart"}
    plan = plan_of(**method_with(**changes), stages=THREE)
    assert kinds(plan)["expert"] == 2
    assert "start" not in kinds(plan)
    first = starting_with(inputs_of(plan, "stage1"), "expert.")
    for stage in (2, 3):
        inputs = inputs_of(plan, f"stage{stage}")
        assert starting_with(inputs, "expert.") == first
        assert not starting_with(inputs, "held_out.")


def test_without_transition_but_with_windows_each_stage_has_experts_of_its_own():
    plan = plan_of(**method_with(transition=False, without_transition="restart", difficulty={}))
    assert kinds(plan)["expert"] == 4
    assert all("start" not in step.inputs for step in plan.steps if step.kind == "expert")


def test_mode_full_needs_nothing_but_the_data():
    plan = plan_of(**{"evaluation.modes": ["full"], "evaluation.networks": 2})
    assert kinds(plan) == {"data": 1, "evaluation": 2}
    record = planned_records(plan)[0]
    assert (record.method, record.mode, record.stages, record.total_stages) == (
        "full",
        "full",
        0,
        0,
    )
    assert (record.images_per_class, record.stage_key) == (0, "")
    assert record.train_images == 90
    assert record.stored_bytes == 90 * 64 * 4


def test_records_say_how_large_the_evaluated_set_is():
    record = planned_records(plan_of())[0]
    assert record.stored_bytes == 2 * 3 * 64 * 4
    assert (record.classes, record.protocol, record.phase) == (3, "held_out", 0)


def test_the_cost_of_a_set_is_the_time_of_all_that_led_to_it(tmp_path):
    plan = plan_of()
    store = Store(tmp_path).open()
    for step in plan.steps:
        folder = store.begin(step.key)
        (folder / "result.json").write_text(json.dumps(RESULT))
        inputs = {name: parent.key for name, parent in step.inputs.items()}
        store.commit(step.key, folder, {"seconds": 2.0, "inputs": inputs})
    (record,) = collect_records(plan, store)
    others = [step for step in plan.steps if step.kind != "evaluation"]
    assert record.cost_seconds == 2.0 * len(others)
    store.set_aside(plan.steps[0].key)
    assert collect_records(plan, store)[0].cost_seconds is None


def test_the_original_protocol_chooses_on_the_test_split_and_has_keys_of_its_own():
    plan, reference = plan_of(), plan_of(protocol="reference")
    stages = [step for step in reference.steps if step.kind == "stage"]
    assert all(step.config["chosen_on"] == "test" for step in stages)
    shared = {step.kind for step in reference.steps} - {
        step.kind for step in reference.steps if step.key not in {s.key for s in plan.steps}
    }
    assert "data" in shared
    assert planned_records(reference)[0].protocol == "reference"


def test_idc_s_original_protocol_is_the_best_of_50_tests_per_stage():
    plan = plan_of(protocol="reference", method={"name": "idc", "iterations": 1})
    evaluations = [step for step in plan.steps if step.kind == "evaluation"]
    assert {step.config["tests"] for step in evaluations} == {50}


def test_continual_learning_distils_every_phase_from_its_own_classes():
    plan = plan_of(continual={"phases": 3, "protocol": "B", "order": "as_is"})
    steps = by_name(plan)
    parts = [steps[f"phase{phase}/data"].config["classes"] for phase in (1, 2, 3)]
    assert parts == [[0], [1], [2]]
    for phase in (1, 2, 3):
        assert steps[f"phase{phase}/stage1"].inputs["data"] is steps[f"phase{phase}/data"]
    last = steps["phase3/progressive-e666/convnet-w8-d2/network0"]
    assert set(last.inputs) == {"data", "memory.1", "memory.2", "memory.3", "previous"}
    assert last.inputs["memory.2"] is steps["phase2/stage2"]
    records = planned_records(plan)
    assert [(r.phase, r.phases, r.classes) for r in records] == [(1, 3, 1), (2, 3, 2), (3, 3, 3)]
    assert records[1].stored_bytes == 2 * 2 * 64 * 4


def test_a_fresh_network_of_continual_learning_has_no_step_before():
    plan = plan_of(continual={"phases": 3, "protocol": "A"})
    evaluations = [step for step in plan.steps if step.kind == "evaluation"]
    assert not any("previous" in step.inputs for step in evaluations)


def test_protocols_share_what_they_distil():
    kept, fresh = (plan_of(continual={"phases": 3, "protocol": p}) for p in "AB")
    keys = [{s.key for s in plan.steps if s.kind == "stage"} for plan in (kept, fresh)]
    assert keys[0] == keys[1]


def test_classes_that_do_not_divide_into_phases_are_refused():
    message = r"3 classes do not divide into 2 phases of the same size; .*can be 3"
    with pytest.raises(ConfigError, match=message):
        plan_of(continual={"phases": 2})
