"""Several steps for one worker: how many, which, and what the driver makes of their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdd_ray.core.operations import Operation
from pdd_ray.core.steps import Cost, Resources, Step
from pdd_ray.runtime.batches import (
    BATCH_SECONDS,
    FIRST_RATE,
    GPU_BATCH_SECONDS,
    STEP_SECONDS,
    Speeds,
    most_steps,
    plan_batch,
)
from pdd_ray.runtime.capacity import FixedCapacity, Node
from pdd_ray.runtime.scheduler import RunState, Scheduler
from pdd_ray.runtime.worker import StepOutcome
from tests.runtime.builders import Recorder, contents, make_step
from tests.runtime.workers import Workers, dies, interrupts, run_here, saves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdd_ray.core.store import Store

ONE_CPU = FixedCapacity((Node(cpus=1),))
SECOND = FIRST_RATE
"""Operations of a step that takes a second, as long as nothing else is known."""


def small_steps(count: int, seconds: float = 0.1, gpus: float = 0.0) -> list[Step]:
    resources = Resources(gpus=gpus)
    return [
        make_step(f"{number:03d}", operations=seconds * SECOND, resources=resources)
        for number in range(count)
    ]


def sizes(batch: Sequence[Sequence[Step]]) -> list[int]:
    return [len(group) for group in batch]


# --- how many, and which --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "gpus", "count"),
    [
        (1 - STEP_SECONDS, 0, BATCH_SECONDS),
        (1 - STEP_SECONDS, 1, GPU_BATCH_SECONDS),
        (BATCH_SECONDS, 0, 1),
        (100 * BATCH_SECONDS, 0, 1),
    ],
)
def test_a_batch_holds_as_many_seconds_of_work_as_it_may(seconds: float, gpus: float, count: int):
    batch = plan_batch(small_steps(500, seconds, gpus), 500, Speeds())
    assert sizes(batch) == [1] * int(count)


def test_a_large_step_is_not_taken_behind_small_ones():
    small, large = small_steps(3), make_step("large", operations=30 * SECOND)
    assert len(plan_batch([*small, large, *small], 99, Speeds())) == 3


@given(ready=st.integers(1, 300), slots=st.integers(1, 40), gpus=st.sampled_from([0.0, 1.0]))
def test_there_are_never_fewer_batches_than_workers(ready: int, slots: int, gpus: float):
    left, batches = ready, 0
    for served in range(slots):  # all of them at once
        if left:
            left -= most_steps(left, slots, served, Resources(gpus=gpus))
            batches += 1
    assert left >= 0
    assert batches == min(ready, slots)
    assert not (left and gpus), "workers with GPUs take all"


def test_what_steps_took_says_how_long_others_of_the_operation_take():
    speeds, (small, large) = (
        Speeds(),
        (make_step("1", operations=1e6), make_step("2", operations=2e6)),
    )
    other = make_step("3", operations=2e6, resources=Resources(gpus=1))
    speeds.observe(small, 3 + STEP_SECONDS)
    assert speeds.seconds(large) == pytest.approx(6 + STEP_SECONDS)
    assert speeds.seconds(other) == pytest.approx(STEP_SECONDS + 2e6 / FIRST_RATE)


def alike(count: int, setting: int, group: int) -> list[Step]:
    """Return steps that differ in their number only, of which ``group`` may be done at once."""
    operation = Operation("evaluation", "f:run", together="f:run_several", differs=("number",))
    return [
        Step(
            operation,
            {"setting": setting, "number": number},
            label=f"{setting}.{number}",
            resources=Resources(gpus=1, group=group),
            cost=Cost(operations=300 * SECOND),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("group", "gpus", "expected"),
    [(5, 1, [5]), (8, 1, [5]), (2, 1, [2]), (1, 1, [1]), (5, 2, [3, 2]), (5, 8, [1, 1, 1, 1, 1])],
)
def test_alike_steps_are_one_group_however_long_they_take(
    group: int, gpus: int, expected: list[int]
):
    scheduler = Scheduler(alike(5, 0, group), lambda _key: False, max_trials=1, speeds=Speeds())
    batches = scheduler.launch(FixedCapacity((Node(cpus=9, gpus=gpus),)))
    assert [sizes(batch) for batch in batches] == [[size] for size in expected]
    assert len(scheduler.running) == sum(expected)


def test_groups_hold_steps_that_are_alike_and_run_all_at_once():
    steps = [*alike(3, 0, 3), *alike(3, 1, 3)]
    scheduler = Scheduler(steps[::-1], lambda _key: False, max_trials=1, speeds=Speeds())
    one_gpu = FixedCapacity((Node(cpus=9, gpus=1),))
    [[first]] = scheduler.launch(one_gpu)
    assert len({step.config["setting"] for step in first}) == 1
    assert {step.key for step in scheduler.begun()} == {step.key for step in first}
    for step in first[1:]:
        scheduler.succeeded(step.key)
        assert scheduler.launch(one_gpu) == []
    scheduler.again(first[0].key)  # its worker died: it is done alone, the others at once
    assert sorted(sizes(scheduler.launch(one_gpu)[0])) in ([1], [3])


# --- the scheduler --------------------------------------------------------------------------------


def test_the_steps_of_a_batch_hold_what_one_of_them_holds_and_run_one_after_the_other():
    steps = small_steps(4)
    scheduler = Scheduler(steps, lambda _key: False, max_trials=1, speeds=Speeds())
    [batch] = scheduler.launch(ONE_CPU)
    first, second = (step.key for [step] in batch)
    assert (scheduler.state(first), scheduler.state(second)) == (RunState.RUNNING, RunState.QUEUED)
    assert scheduler.running == (first,)
    scheduler.capacity_changed()
    assert scheduler.launch(ONE_CPU) == []
    scheduler.succeeded(first)
    assert scheduler.running == (second,)
    assert [step.key for step in scheduler.begun()] == [first, second]
    assert scheduler.launch(ONE_CPU) == []
    scheduler.fail(second, "it failed")
    assert len(scheduler.launch(ONE_CPU)) == 1


def test_trials_are_never_batched():
    trials = [make_step(f"trial {number}", runs_as="trial") for number in range(9)]
    scheduler = Scheduler(trials, lambda _key: False, max_trials=9, speeds=Speeds())
    assert [sizes(batch) for batch in scheduler.launch(ONE_CPU)] == [[1]]


# --- the driver -----------------------------------------------------------------------------------


def run_batched(
    steps: Sequence[Step], workers: Workers, recorder: Recorder | None = None
) -> dict[str, object]:
    workers.cluster = ONE_CPU
    report = run_here(steps, workers, recorder, speeds=Speeds())
    return {"done": len(report.done), "failed": len(report.failed), "left": len(report.left)}


def test_every_step_is_shown_when_its_worker_begins_it(store: Store, recorder: Recorder):
    workers = Workers(store)
    assert run_batched(small_steps(20), workers, recorder)["done"] == 20
    assert len(workers.batches) < 10
    assert [len(labels) for labels in workers.batches][:3] == [10, 5, 3]
    told = [label for event, label in recorder.events if event in ("started", "finished")]
    assert told == [label for labels in workers.batches for label in labels for _ in range(2)]


def test_batches_and_single_steps_make_the_same(
    store: Store, tmp_path_factory: pytest.TempPathFactory
):
    def steps() -> list[Step]:
        return [make_step(str(n), function="draws", seed=n) for n in range(8)]

    other = type(store)(tmp_path_factory.mktemp("single")).open()
    run_batched(steps(), Workers(store))
    run_here(steps(), Workers(other))
    assert contents(store) == contents(other)


def test_a_step_that_fails_does_not_take_the_others_of_its_batch_along(
    store: Store, recorder: Recorder
):
    failed = StepOutcome("failed", "it failed")
    steps = small_steps(8)
    workers = Workers(store, {steps[1].label: [lambda _workers, _step: failed]})
    counts = run_batched([*steps, make_step("below", [steps[1]])], workers, recorder)
    assert counts == {"done": 7, "failed": 1, "left": 0}
    assert recorder.of("failed") == [steps[1].label]


def test_of_a_batch_whose_worker_died_the_running_step_alone_has_lost_a_try(
    store: Store, recorder: Recorder
):
    steps = small_steps(8)
    workers = Workers(store, {steps[3].label: [dies] * 9})
    assert run_batched(steps, workers, recorder) == {"done": 7, "failed": 1, "left": 0}
    assert recorder.of("retried") == [steps[3].label] * 2
    assert sorted(recorder.of("finished")) == sorted({step.label for step in steps} - {"003"})
    tries = [labels for labels in workers.batches if "003" in labels]
    assert len(tries[0]) > 1
    assert tries[1:] == [["003"], ["003"]]  # alone, so that it kills nobody else's worker


def test_interrupting_a_batch_loses_the_running_step_only(store: Store, recorder: Recorder):
    steps = small_steps(8)
    [first, second] = Scheduler(steps, lambda _key: False, max_trials=1, speeds=Speeds()).launch(
        ONE_CPU
    )[0][:2]
    workers = Workers(store, {second[0].label: [saves("count", "2"), interrupts]})
    counts = run_batched(steps, workers, recorder)
    assert counts == {"done": 1, "failed": 0, "left": 7}
    assert recorder.of("finished") == [first[0].label]
    assert store.has_progress(second[0].key)
    assert workers.killed == [second[0].label]
