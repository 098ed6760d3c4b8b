"""What the driver makes of how steps end, with workers that end them when a test says so."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdd_ray.core.errors import ResourceError
from pdd_ray.core.steps import Resources, topological
from pdd_ray.core.store import Store
from pdd_ray.runtime.batches import Speeds
from pdd_ray.runtime.capacity import FixedCapacity, Node
from pdd_ray.runtime.driver import CAPACITY_SECONDS, MOST_DAMAGES, STALL_SECONDS
from pdd_ray.runtime.interface import RunOptions
from pdd_ray.runtime.worker import StepOutcome
from tests.runtime.builders import KINDS, Recorder, contents, counted, diamonds, make_step
from tests.runtime.graphs import graphs
from tests.runtime.workers import (
    Workers,
    dies,
    dies_after_its_work,
    executes,
    goes_on,
    interrupts,
    reports,
    run_here,
    saves,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.core.steps import Step
    from tests.runtime.workers import Turn

LAST = -1
"""The step that was launched last ends first."""


# --- order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("next_to_end", [0, LAST])
def test_steps_start_after_their_inputs_and_once(
    store: Store, recorder: Recorder, next_to_end: int
):
    workers = Workers(store, choose=lambda _running: next_to_end)
    report = run_here(diamonds(), workers, recorder)
    assert report.complete
    assert len(report.done) == 10
    assert workers.most == 2
    events = recorder.events
    assert events[0] == ("begin", "10 0")
    assert events[-1] == ("end", "")
    for step in topological(diamonds()):
        assert events.count(("started", step.label)) == 1
        for parent in step.inputs.values():
            assert events.index(("finished", parent.label)) < events.index(("started", step.label))


def test_a_second_run_does_what_is_missing(store: Store, recorder: Recorder):
    assert run_here(diamonds(), Workers(store)).complete
    missing = diamonds()[0]
    store.set_aside(missing.key)
    report = run_here(diamonds(), Workers(store), recorder)
    assert report.done == (missing.key,)
    assert len(report.cached) == 9
    assert recorder.events[0] == ("begin", "10 9")
    assert recorder.of("started") == ["evaluation a"]


@settings(max_examples=50)
@given(
    steps=graphs(),
    failing=st.sets(st.integers(0, 11).map(str)),
    dying=st.dictionaries(st.integers(0, 11).map(str), st.integers(1, 4)),
    most=st.integers(1, 3),
    choices=st.randoms(use_true_random=False),
    batched=st.booleans(),
)
def test_whatever_the_order_of_ends_every_step_is_done_failed_or_blocked(
    tmp_path_factory: pytest.TempPathFactory, steps, failing, dying, most, choices, batched
):
    """Workers check that inputs come first, that nothing runs twice at a time, and that it fits."""
    failed = StepOutcome("failed", "it failed")
    scripts = {label: [dies] * times for label, times in dying.items()}
    for label in failing:
        scripts[label] = [*scripts.get(label, []), lambda _workers, _step: failed]
    folder = tmp_path_factory.mktemp("any")
    workers = Workers(Store(folder).open(), scripts, choices.randrange)
    workers.cluster = FixedCapacity((Node(cpus=2, gpus=1),))
    options = RunOptions(max_concurrent_stages=most)
    report = run_here(steps, workers, options=options, speeds=Speeds() if batched else None)
    assert report.left == ()
    states = {**report.failed, **report.blocked, **dict.fromkeys(report.done)}
    assert set(states) == {step.key for step in steps}
    assert len(states) == len(report.failed) + len(report.blocked) + len(report.done)
    for step in steps:
        bad = {key.key for key in step.inputs.values()} & {*report.failed, *report.blocked}
        gives_up = step.label in failing or dying.get(step.label, 0) >= 3
        assert (step.key in report.blocked) == bool(bad)
        assert (step.key in report.failed) == (gives_up and not bad)
    shutil.rmtree(folder)


# --- failures -------------------------------------------------------------------------------------


def test_a_failing_step_blocks_its_descendants_only_and_is_not_tried_again(
    store: Store, recorder: Recorder
):
    bad_task = make_step("bad task", function="failing", iteration=7)
    bad_trial = make_step("bad trial", function="failing", runs_as="trial", iteration=8)
    good = make_step("good")
    below_task, below_trial = make_step("1", [good, bad_task]), make_step("2", [bad_trial, good])
    deep = make_step("3", [below_trial], runs_as="trial")
    steps = [below_task, deep, make_step("after good", [good])]
    report = run_here(steps, Workers(store), recorder)
    assert report.failed == {
        bad_task.key: "the loss is nan in iteration 7",
        bad_trial.key: "the loss is nan in iteration 8",
    }
    assert report.blocked == {
        below_task.key: bad_task.key,
        below_trial.key: bad_trial.key,
        deep.key: bad_trial.key,
    }
    assert len(report.done) == 2
    assert len(recorder.of("started")) == 4
    for bad in (bad_task, bad_trial):
        failure = store.failure(bad.key)
        assert failure is not None
        assert failure.message == report.failed[bad.key]
        assert "Traceback" in store.log_path(bad.key).read_text()


def test_with_fail_fast_the_first_failure_ends_the_run(store: Store, recorder: Recorder):
    bad = make_step("bad", function="failing", iteration=7, operations=9)
    endless = make_step("endless")
    later = make_step("later", [endless])
    workers = Workers(store, {"endless": [goes_on] * 99})
    report = run_here([bad, later], workers, recorder, RunOptions(fail_fast=True))
    assert set(report.failed) == {bad.key}
    assert set(report.left) == {endless.key, later.key}
    assert workers.killed == ["endless"]
    assert not report.interrupted
    assert recorder.events[-1] == ("end", "")


def test_without_fail_fast_what_does_not_need_it_goes_on(store: Store):
    bad = make_step("bad", function="failing", iteration=7, operations=9)
    slow = make_step("slow")
    report = run_here([bad, make_step("later", [slow])], Workers(store, {"slow": [goes_on] * 9}))
    assert set(report.failed) == {bad.key}
    assert len(report.done) == 2


# --- lost workers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_whose_worker_died_goes_on_where_it_was(
    store: Store, folder: Path, recorder: Recorder, kind: str
):
    step = make_step("count", function="counting", runs_as=kind, folder=str(folder), until=4)
    workers = Workers(store, {"count": [saves("count", "2"), dies]})
    assert run_here([step], workers, recorder).complete
    assert recorder.of("retried") == ["count"]
    assert counted(folder, "count") == [3, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_that_dies_without_progress_is_given_up(store: Store, recorder: Recorder, kind: str):
    step = make_step("dying", runs_as=kind)
    workers = Workers(store, {"dying": [dies] * 9})
    report = run_here([step, make_step("other")], workers, recorder)
    assert recorder.of("started").count("dying") == 3
    assert recorder.of("retried") == ["dying", "dying"]
    assert report.failed[step.key].startswith("its worker died 3 times")
    assert "run fewer steps at once: resources." in report.failed[step.key]
    assert len(report.done) == 1
    failure = store.failure(step.key)
    assert failure is not None
    assert failure.message == report.failed[step.key]


def test_the_attempts_are_those_of_the_options(store: Store, recorder: Recorder):
    workers = Workers(store, {"dying": [dies] * 9})
    report = run_here([make_step("dying")], workers, recorder, RunOptions(max_attempts=5))
    assert recorder.of("started") == ["dying"] * 5
    assert len(report.failed) == 1


def test_progress_gives_a_dying_step_its_attempts_back(store: Store, recorder: Recorder):
    script = [turn for size in range(1, 8) for turn in (saves("state", "." * size), dies)]
    assert run_here([make_step("unlucky")], Workers(store, {"unlucky": script}), recorder).complete
    assert recorder.of("retried") == ["unlucky"] * 7


def test_a_worker_that_died_after_its_work_is_not_missed(store: Store, recorder: Recorder):
    steps = [make_step(kind, runs_as=kind) for kind in KINDS]
    workers = Workers(store, {kind: [dies_after_its_work] for kind in KINDS})
    assert run_here(steps, workers, recorder).complete
    assert recorder.of("retried") == []


# --- damaged inputs -------------------------------------------------------------------------------


def test_a_damaged_input_is_set_aside_and_made_again(store: Store, recorder: Recorder):
    data = make_step("data")
    readers = [make_step(f"read by {kind}", [data], runs_as=kind) for kind in KINDS]
    run_here([data], Workers(store))
    before = contents(store)
    (store.folder(data.key) / "name.txt").write_text("changed by somebody")
    report = run_here(readers, Workers(store), recorder)
    assert report.complete
    assert set(report.done) == {data.key, *(reader.key for reader in readers)}
    assert recorder.of("started").count("data") == 1
    assert contents(store).items() >= before.items()
    [aside] = store.root.glob("damaged/*")
    assert aside.name.startswith(data.key)


def test_an_input_that_is_damaged_again_and_again_fails_its_reader(
    store: Store, recorder: Recorder
):
    data = make_step("data")

    def finds_it_damaged(workers: Workers, step: Step) -> StepOutcome:
        (workers.store.folder(data.key) / "name.txt").write_text("by a disk that is broken")
        return executes(workers, step)

    reader = make_step("reader", [data])
    workers = Workers(store, {"reader": [finds_it_damaged] * 9})
    report = run_here([reader], workers, recorder)
    assert list(report.failed) == [reader.key]
    assert f"artifact {data.key} is damaged" in report.failed[reader.key]
    assert recorder.of("started").count("data") == 1 + MOST_DAMAGES


def test_damage_to_what_is_no_step_of_the_run_is_a_failure(store: Store):
    lost = StepOutcome("damaged", "artifact expert-of-others is damaged", "expert-of-others")
    workers = Workers(store, {"reader": [lambda _workers, _step: lost]})
    report = run_here([make_step("reader")], workers)
    assert list(report.failed.values()) == [lost.message]


# --- what the display is told ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_reports_reach_the_display_once_a_second(store: Store, recorder: Recorder, kind: str):
    step = make_step("slow", runs_as=kind)
    workers = Workers(store, {"slow": [reports(fraction=0.25)] + [goes_on] * 34})
    assert run_here([step, make_step("other")], workers, recorder).complete
    assert recorder.of("progress") == ["slow"] * 3  # its 35 turns take 3.5 seconds
    assert recorder.reports == [{"fraction": 0.25}] * 3


def test_what_an_earlier_attempt_reported_is_not_shown(store: Store, recorder: Recorder):
    script = [reports(fraction=0.5), dies, *[goes_on] * 30]
    assert run_here([make_step("step")], Workers(store, {"step": script}), recorder).complete
    assert recorder.of("progress") == []


def test_finished_steps_say_how_long_they_took(store: Store):
    times: list[float] = []

    class Timing(Recorder):
        def finished(self, step: Step, seconds: float) -> None:
            super().finished(step, seconds)
            times.append(seconds)

    run_here([make_step("step")], Workers(store, {"step": [goes_on] * 19}), Timing())
    assert times == [pytest.approx(2.0)]


# --- ending early ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["task", "trial", "waiting trial"])
def test_an_interrupted_run_leaves_what_runs_and_the_next_one_continues(
    store: Store, folder: Path, recorder: Recorder, case: str
):
    kind = "trial" if case == "trial" else "task"
    first = make_step("first", function="counting", runs_as=kind, folder=str(folder), until=3)
    waiting = [make_step("second", [first], runs_as="trial")] if case == "waiting trial" else []
    workers = Workers(store, {"first": [saves("count", "2"), interrupts, *[goes_on] * 99]})
    report = run_here([first, *waiting], workers, recorder)
    assert report.interrupted
    assert set(report.left) == {step.key for step in (first, *waiting)}
    assert not report.failed
    assert workers.killed == (["first"] if kind == "task" else [])
    assert recorder.events[-1] == ("end", "")
    assert run_here([first, *waiting], Workers(store)).complete
    assert counted(folder, "first") == [3]


def test_an_error_of_the_display_ends_the_tasks_and_is_told_the_end(store: Store):
    class Broken(Recorder):
        def finished(self, step: Step, seconds: float) -> None:
            raise ZeroDivisionError

    display, workers = Broken(), Workers(store)
    with pytest.raises(ZeroDivisionError):
        run_here([make_step("first"), make_step("second")], workers, display)
    assert len(workers.killed) == 1
    assert display.events[-1] == ("end", "")


# --- the cluster ----------------------------------------------------------------------------------


def cluster_becomes(*nodes: Node) -> Turn:
    """Return the turn in which the cluster has ``nodes`` from now on, and goes on."""

    def turn(workers: Workers, _step: Step) -> None:
        workers.cluster = FixedCapacity(nodes)

    return turn


UNTIL_THE_DRIVER_LOOKS = [goes_on] * int(10 * CAPACITY_SECONDS)


def test_machines_that_come_during_a_run_are_used(store: Store):
    steps = [make_step(str(number)) for number in range(4)]
    grows = [cluster_becomes(Node(cpus=2), Node(cpus=2)), *UNTIL_THE_DRIVER_LOOKS]
    workers = Workers(store, {step.label: grows for step in steps})
    assert run_here(steps, workers).complete
    assert workers.most == 4


def test_a_step_that_fits_nowhere_any_more_ends_the_run_after_a_while(
    store: Store, recorder: Recorder
):
    first = make_step("first")
    large = make_step("large", [first], resources=Resources(cpus=2))
    shrinks = [cluster_becomes(Node(cpus=1)), *UNTIL_THE_DRIVER_LOOKS]
    workers = Workers(store, {"first": shrinks})
    with pytest.raises(ResourceError, match=r"large has found no machine .* for 600 s; was a mach"):
        run_here([large], workers, recorder)
    assert STALL_SECONDS < workers.now < STALL_SECONDS + 2 * CAPACITY_SECONDS
    assert recorder.events[-1] == ("end", "")
