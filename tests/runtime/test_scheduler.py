"""The scheduler decides without Ray; these tests take milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdd_ray.core.steps import Resources
from pdd_ray.runtime.batches import Speeds
from pdd_ray.runtime.capacity import ElasticCapacity, FixedCapacity, Node
from pdd_ray.runtime.scheduler import UNFINISHED, RunState, Scheduler
from tests.effort import python_calls
from tests.runtime.builders import make_step
from tests.runtime.graphs import graphs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.core.steps import Step
    from pdd_ray.runtime.batches import Batch

TWO_CPUS = FixedCapacity((Node(cpus=2),))
MANY_CPUS = FixedCapacity((Node(cpus=100, gpus=8),))


def schedule(
    steps: Iterable[Step],
    done: Iterable[Step] = (),
    max_trials: int = 64,
    speeds: Speeds | None = None,
) -> Scheduler:
    keys = {step.key for step in done}
    return Scheduler(list(steps), keys.__contains__, max_trials=max_trials, speeds=speeds)


def labels(batches: Iterable[Batch]) -> list[str]:
    """Return the labels of the steps of all batches."""
    return [step.label for batch in batches for group in batch for step in group]


def run_all(
    scheduler: Scheduler, capacity: FixedCapacity, failing: Iterable[str] = ()
) -> list[str]:
    """Run to the end, one end at a time, and return the labels in the order of beginning."""
    order: list[str] = []
    running: list[Step] = []
    while scheduler.active:
        scheduler.launch(capacity)
        begun = scheduler.begun()
        order += [step.label for step in begun]
        running += begun
        assert running, "nothing runs, but steps are left"
        step = running.pop(0)
        if step.label in failing:
            scheduler.fail(step.key, "it failed")
        else:
            scheduler.succeeded(step.key)
    return order


def test_a_step_starts_when_all_its_inputs_are_done():
    first, second = make_step("first"), make_step("second")
    last = make_step("last", [first, second])
    scheduler = schedule([last])
    assert set(labels(scheduler.launch(MANY_CPUS))) == {"first", "second"}
    scheduler.succeeded(first.key)
    assert scheduler.launch(MANY_CPUS) == []
    scheduler.succeeded(second.key)
    assert labels(scheduler.launch(MANY_CPUS)) == ["last"]


def test_the_longest_remaining_path_by_cost_comes_first():
    cheap = make_step("cheap start", operations=1)
    dear = make_step("dear start", operations=2)
    end_of_cheap = make_step("dear end", [cheap], operations=100)
    end_of_dear = make_step("cheap end", [dear], operations=3)
    scheduler = schedule([end_of_dear, end_of_cheap])
    assert labels(scheduler.launch(TWO_CPUS)) == ["cheap start", "dear start"]


def test_equal_costs_are_ordered_by_depth_then_by_key():
    alone = [make_step(f"alone {number}") for number in range(4)]
    chain = [make_step("chain 0")]
    for number in range(3):
        chain.append(make_step(f"chain {number + 1}", [chain[-1]]))
    scheduler = schedule([*alone, chain[-1]])
    first, *others = labels(scheduler.launch(MANY_CPUS))
    assert first == "chain 0"
    assert others == [step.label for step in sorted(alone, key=lambda step: step.key)]


def test_shared_steps_run_once():
    data = make_step("data")
    steps = [make_step(f"user {number}", [make_step("data")]) for number in range(3)]
    assert run_all(schedule([data, *steps]), TWO_CPUS).count("data") == 1


def test_no_more_runs_than_fits():
    scheduler = schedule([make_step(str(number)) for number in range(5)])
    assert len(scheduler.launch(TWO_CPUS)) == 2
    assert scheduler.launch(TWO_CPUS) == []
    scheduler.succeeded(scheduler.running[0])
    assert len(scheduler.launch(TWO_CPUS)) == 1


def test_a_large_step_is_not_starved_by_small_ones():
    small = [make_step(f"small {number}", operations=1) for number in range(6)]
    large = make_step("large", operations=9, resources=Resources(cpus=2), runs_as="trial")
    before = make_step("before", operations=0.5)
    large = make_step("large", [before], operations=9, resources=Resources(cpus=2), runs_as="trial")
    order = run_all(schedule([*small, large]), TWO_CPUS)
    assert order.index("large") == 2  # after "before" and the small one that started beside it


def test_what_a_waiting_step_does_not_need_is_given_to_others():
    node = FixedCapacity((Node(cpus=8, gpus=1),))
    on_gpu = [
        make_step(f"gpu {number}", operations=10, resources=Resources(cpus=1, gpus=1))
        for number in range(2)
    ]
    on_cpu = [make_step(f"cpu {number}") for number in range(9)]
    launched = labels(schedule([*on_gpu, *on_cpu]).launch(node))
    assert sum(label.startswith("gpu") for label in launched) == 1
    assert sum(label.startswith("cpu") for label in launched) == 6  # one CPU is kept for "gpu 2"


def test_trials_are_limited_and_tasks_are_not():
    trials = [make_step(f"trial {number}", runs_as="trial", operations=9) for number in range(3)]
    tasks = [make_step(f"task {number}") for number in range(3)]
    launched = labels(schedule([*trials, *tasks], max_trials=1).launch(MANY_CPUS))
    assert sorted(launched) == ["task 0", "task 1", "task 2", *launched[:1]]
    assert launched[0].startswith("trial")


def test_a_failure_blocks_exactly_its_descendants():
    root = make_step("root")
    bad, good = make_step("bad", [root]), make_step("good", [root])
    below = make_step("below", [bad])
    both = make_step("both", [below, good])
    apart = make_step("apart", [good])
    scheduler = schedule([both, apart])
    run_all(scheduler, TWO_CPUS, failing=["bad"])
    assert scheduler.failed == {bad.key: "it failed"}
    assert scheduler.blocked == {below.key: bad.key, both.key: bad.key}
    assert set(scheduler.keys(RunState.DONE)) == {root.key, good.key, apart.key}


def test_what_is_done_already_is_not_run():
    first = make_step("first")
    second = make_step("second", [first])
    scheduler = schedule([second], done=[first])
    assert run_all(scheduler, TWO_CPUS) == ["second"]
    assert scheduler.cached == {first.key}


def test_nothing_is_active_when_all_is_done():
    step = make_step("only", runs_as="trial")
    scheduler = schedule([step], done=[step])
    assert not scheduler.active
    assert not scheduler.has_trials


def test_a_step_put_back_is_launched_again():
    step = make_step("only")
    scheduler = schedule([step])
    scheduler.launch(TWO_CPUS)
    scheduler.again(step.key)
    assert labels(scheduler.launch(TWO_CPUS)) == ["only"]


def test_a_damaged_input_is_made_again_before_those_that_read_it():
    data = make_step("data")
    readers = [make_step(f"reader {number}", [data]) for number in range(3)]
    scheduler = schedule(readers, done=[data])
    assert len(scheduler.launch(TWO_CPUS)) == 2
    unhurt, hurt = scheduler.running
    scheduler.remake(data.key)
    scheduler.again(hurt)
    assert scheduler.cached == set()
    assert labels(scheduler.launch(TWO_CPUS)) == ["data"]
    scheduler.succeeded(unhurt)
    assert scheduler.launch(TWO_CPUS) == []
    scheduler.succeeded(data.key)
    assert set(labels(scheduler.launch(TWO_CPUS))) == {
        step.label for step in readers if step.key != unhurt
    }


def test_a_step_whose_input_cannot_be_made_again_is_blocked():
    data = make_step("data")
    reader = make_step("reader", [data])
    below = make_step("below", [reader])
    scheduler = schedule([below], done=[data])
    scheduler.launch(TWO_CPUS)
    scheduler.remake(data.key)
    scheduler.launch(TWO_CPUS)
    scheduler.fail(data.key, "gone")
    assert set(scheduler.again(reader.key)) == {reader.key, below.key}
    assert scheduler.blocked == {reader.key: data.key, below.key: data.key}
    assert not scheduler.active


def test_more_machines_are_used_when_they_come():
    scheduler = schedule([make_step(str(number)) for number in range(4)])
    scheduler.launch(TWO_CPUS)
    scheduler.capacity_changed()
    assert len(scheduler.launch(FixedCapacity((Node(cpus=2), Node(cpus=1))))) == 1


def test_a_growing_cluster_is_asked_for_more_than_it_has():
    steps = [make_step(str(number), resources=Resources(gpus=1)) for number in range(9)]
    assert len(schedule(steps).launch(ElasticCapacity(5))) == 5


@given(
    steps=graphs(),
    failing=st.sets(st.integers(0, 11).map(str)),
    max_trials=st.integers(1, 3),
    batched=st.booleans(),
)
def test_every_run_ends_with_every_step_done_failed_or_blocked(
    steps: list[Step], failing: set[str], max_trials: int, batched: bool
):
    scheduler = schedule(steps, max_trials=max_trials, speeds=Speeds() if batched else None)
    order = run_all(scheduler, FixedCapacity((Node(cpus=2, gpus=1),)), failing)
    assert len(order) == len(set(order))
    assert scheduler.keys(*UNFINISHED) == ()
    for step in steps:
        bad = [
            parent
            for parent in step.inputs.values()
            if scheduler.state(parent.key) in (RunState.FAILED, RunState.BLOCKED)
        ]
        assert (scheduler.state(step.key) is RunState.BLOCKED) == bool(bad)


@pytest.mark.parametrize("batched", [False, True])
def test_the_effort_of_scheduling_grows_with_the_number_of_steps(batched: bool):
    def effort(count: int) -> int:
        stages = [make_step(f"stage {number}", runs_as="trial") for number in range(count // 100)]
        steps = [make_step(str(n), [stages[n % len(stages)]]) for n in range(count)]
        machine = FixedCapacity((Node(cpus=64),))
        speeds = Speeds() if batched else None
        return python_calls(lambda: run_all(schedule([*stages, *steps], speeds=speeds), machine))

    assert effort(2000) / effort(500) < 1.2 * 4
