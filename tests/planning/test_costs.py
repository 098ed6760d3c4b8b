"""Estimates of a plan: positive, and in proportion to the work."""

import pytest

from tests.planning.builders import SWEEP, by_name, plan_of

EVALUATION = "progressive2-e{}/convnet-w8-d2/network0"


def costs(name, **changes):
    return by_name(plan_of(**changes))[name].cost


def operations(name, **changes):
    return costs(name, **changes).operations


def test_every_step_has_a_positive_estimate():
    one = [{"images_per_class": 2}]
    for changes in (
        {},
        {"method": {"name": "random"}, "stages": one},
        {"method": {"name": "herding"}, "stages": one},
        {"method": {"name": "forgetting"}, "stages": one},
        *({"method": {"name": name}} for name in ("dc", "dsa", "dm", "cafe", "idc")),
        {"data.preprocessing": "zca"},
    ):
        for step in plan_of(**changes).steps:
            assert step.cost.operations > 0
            assert step.cost.disk > 0
            assert step.cost.memory > 0


def test_experts_cost_in_proportion_to_their_epochs():
    one, two = (operations("stage1/expert0", **{"experts.epochs": n}) for n in (10, 20))
    assert two == pytest.approx(2 * one)


def test_half_precision_takes_half_the_disk():
    full, half = (
        costs("stage1/expert0", **{"experts.storage": name}).disk for name in ("float32", "float16")
    )
    assert half == full / 2


def test_a_trajectory_takes_the_disk_of_its_snapshots():
    parameters = (1 * 8 * 9 + 3 * 8) + (8 * 8 * 9 + 3 * 8) + (8 * 3 * 3 + 1) * 3
    assert costs("stage1/expert0").disk == (8 + 1) * parameters * 4


def test_matching_costs_in_proportion_to_its_inner_steps():
    def of(steps):
        method = {**SWEEP["method"], "inner_steps": steps}
        return operations("stage1", method=method)

    assert of(30) - of(20) == pytest.approx(of(20) - of(10))
    assert of(20) > of(10)


def test_choosing_an_iterate_costs_in_proportion_to_its_networks():
    def of(networks):
        method = {**SWEEP["method"], "selection": {"every": 2, "networks": networks}}
        return operations("stage1", method=method)

    assert of(3) - of(2) == pytest.approx(of(2) - of(1))
    assert of(2) > of(1)


def test_transitions_grow_with_the_union():
    changes = {"stages": {"count": 3, "images_per_class": 2}}
    second, third = (operations(f"stage{stage}/start0", **changes) for stage in (2, 3))
    assert third == pytest.approx(2 * second)


def test_an_evaluation_costs_its_training_and_its_test():
    def of(epochs):
        return operations(EVALUATION.format(epochs), **{"evaluation.epochs": epochs})

    assert of(30) - of(20) == pytest.approx(of(20) - of(10))


def test_sequential_training_is_on_one_set():
    changes = {"evaluation.modes": ["progressive", "sequential"], "evaluation.epochs": 50}
    steps = by_name(plan_of(**changes))
    progressive, sequential = (
        steps[f"{mode}2-e50/convnet-w8-d2/network0"].cost.operations
        for mode in ("progressive", "sequential")
    )
    assert sequential < progressive < 2 * sequential


@pytest.mark.parametrize(("name", "processes"), [("dc", 3), ("dm", 3), ("idc", 3), ("cafe", 1)])
def test_every_class_shard_is_a_process_with_the_data_loaded(name, processes):
    def of(shards):
        resources = {"class_shards": shards}
        return costs("stage1", method={"name": name}, resources=resources).memory

    assert of(3) == pytest.approx(processes * of(1))
