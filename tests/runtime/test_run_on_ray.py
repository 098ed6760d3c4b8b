"""Steps executed on a real, local Ray with two CPUs and two logical GPUs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pdd_ray.core.errors import ResourceError
from pdd_ray.core.steps import Resources, run_serially, topological
from pdd_ray.core.store import Store
from pdd_ray.runtime.run import NoDisplay, RunOptions, run_on_ray
from tests.ray_cluster import ROOT
from tests.runtime.builders import Reacting, Recorder, counted, make_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pdd_ray.core.steps import Step
    from pdd_ray.runtime.interface import Display, RunOutcome

pytestmark = pytest.mark.ray
KINDS = ("task", "trial")


@pytest.fixture(autouse=True)
def _on_the_shared_ray(ray_cluster: None) -> None:
    """Start Ray before the first of these tests."""


def run(
    steps: Sequence[Step], store: Store, display: Display, options: RunOptions | None = None
) -> RunOutcome:
    return run_on_ray(steps, store, options or RunOptions(), display)


def diamonds(cpus: float = 1.0) -> list[Step]:
    """Return two experiments that share a prefix: data, experts, stage 1; then stage 2.

    Stage 2b is a task, because starting another process for a trial takes seconds.
    """

    def make(label: str, seed: int, *inputs: Step, runs_as: str = "task") -> Step:
        resources = Resources(cpus=cpus)
        return make_step(
            label, inputs, function="draws", runs_as=runs_as, resources=resources, seed=seed
        )

    data = make("data", 0)
    experts = make("expert 1", 2, data), make("expert 2", 3, data)
    first = make("stage 1", 1, *experts, runs_as="trial")
    second_a = make("stage 2a", 6, first, make("expert a", 4, first), runs_as="trial")
    second_b = make("stage 2b", 6, first, make("expert b", 5, first))
    return [make("evaluation a", 7, second_a), make("evaluation b", 7, second_b)]


def contents(store: Store) -> dict[str, Any]:
    """Return the digests of the files of all artifacts."""
    return {
        manifest["key"]: {name: entry["digest"] for name, entry in manifest["files"].items()}
        for kind in ("expert", "stage")
        for manifest in store.manifests(kind)
    }


@dataclass(frozen=True)
class Finished:
    """What a run of :func:`diamonds` on both CPUs has left."""

    store: Store
    recorder: Recorder
    report: RunOutcome


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Finished:
    store, recorder = Store(tmp_path_factory.mktemp("finished")).open(), Recorder()
    return Finished(store, recorder, run(diamonds(), store, recorder))


def test_steps_start_after_their_inputs_and_once(finished: Finished):
    assert finished.report.complete
    assert len(finished.report.done) == 10
    events = finished.recorder.events
    assert events[0] == ("begin", "10 0")
    assert events[-1] == ("end", "")
    for step in topological(diamonds()):
        assert events.count(("started", step.label)) == 1
        for parent in step.inputs.values():
            assert events.index(("finished", parent.label)) < events.index(("started", step.label))


def test_nothing_but_the_artifacts_and_logs_is_left(finished: Finished):
    assert sorted(path.name for path in finished.store.root.iterdir() if any_file(path)) == [
        "artifacts",
        "logs",
        "store.json",
    ]


def any_file(path: Path) -> bool:
    return path.is_file() or any(child.is_file() for child in path.rglob("*"))


def test_serially_or_on_one_or_two_cpus_the_bytes_are_the_same(finished: Finished, tmp_path: Path):
    serial, one_at_a_time = Store(tmp_path / "serial").open(), Store(tmp_path / "one").open()
    run_serially(diamonds(), serial)
    assert run(diamonds(cpus=2), one_at_a_time, NoDisplay()).complete
    assert contents(serial) == contents(finished.store) == contents(one_at_a_time)


def test_a_second_run_does_what_is_missing(finished: Finished, recorder: Recorder):
    missing = diamonds()[0]
    finished.store.set_aside(missing.key)
    report = run(diamonds(), finished.store, recorder)
    assert report.done == (missing.key,)
    assert len(report.cached) == 9
    assert recorder.of("started") == ["evaluation a"]
    shutil.rmtree(finished.store.root / "damaged")


def test_a_failing_step_blocks_its_descendants_only_and_is_not_tried_again(
    store: Store, recorder: Recorder
):
    bad_task = make_step("bad task", function="failing", iteration=7)
    bad_trial = make_step("bad trial", function="failing", runs_as="trial", iteration=8)
    good = make_step("good")
    below_task, below_trial = make_step("1", [good, bad_task]), make_step("2", [bad_trial, good])
    deep = make_step("3", [below_trial], runs_as="trial")
    report = run([below_task, deep, make_step("after good", [good])], store, recorder)
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


def test_with_fail_fast_the_first_failure_ends_the_run(store: Store, folder: Path):
    bad = make_step("bad", function="failing", iteration=7, operations=9)
    endless = make_step("endless", function="counting", folder=str(folder), until=2, waits_at=1)
    later = make_step("later", [endless])
    report = run([bad, later], store, NoDisplay(), RunOptions(fail_fast=True))
    (folder / "go").touch()  # Ray may start a task that it was told to cancel
    assert set(report.failed) == {bad.key}
    assert set(report.left) == {endless.key, later.key}
    assert not report.interrupted


def test_a_killed_worker_is_replaced_and_goes_on_where_it_was(
    store: Store, folder: Path, recorder: Recorder
):
    steps = [
        make_step(
            runs_as, function="counting", runs_as=runs_as, folder=str(folder), until=4, dies_at=2
        )
        for runs_as in KINDS
    ]
    report = run(steps, store, recorder)
    assert report.complete
    assert sorted(recorder.of("retried")) == ["task", "trial"]
    assert counted(folder, "task") == counted(folder, "trial") == [1, 2, 3, 4]


def test_a_step_that_dies_without_progress_is_given_up(store: Store, recorder: Recorder):
    step = make_step("dying", function="dying")
    report = run([step, make_step("other")], store, recorder)
    assert recorder.of("started").count("dying") == 3
    assert report.failed[step.key].startswith("its worker died 3 times")
    assert len(report.done) == 1
    failure = store.failure(step.key)
    assert failure is not None
    assert failure.message == report.failed[step.key]


def test_tasks_get_the_gpus_of_a_trial_that_has_ended(store: Store, recorder: Recorder):
    all_gpus = Resources(cpus=1, gpus=2)
    first = make_step("stage 1", runs_as="trial", resources=all_gpus)
    expert = make_step("expert", [first], resources=all_gpus)
    second = make_step("stage 2", [expert], runs_as="trial", resources=all_gpus)
    assert run([second], store, recorder).complete


def test_fractions_of_gpus_share_them_without_exceeding_them(store: Store, folder: Path):
    steps = [
        make_step(
            f"half {number}",
            function="logged",
            folder=str(folder),
            seconds=0.3,
            resources=Resources(cpus=0.25, gpus=0.5),
        )
        for number in range(6)
    ]
    assert run(steps, store, NoDisplay()).complete
    traces = [path.read_text().split() for path in folder.iterdir()]
    spans = [(float(begun), float(ended)) for begun, ended, _, _ in traces]
    assert len(spans) == 6
    assert max(sum(b <= begun < e for b, e in spans) for begun, _ in spans) <= 4
    assert {gpus for *_, gpus in traces} <= {"[0]", "[1]"}


def test_workers_are_reused(store: Store, folder: Path):
    steps = [make_step(str(n), function="logged", folder=str(folder)) for n in range(12)]
    assert run(steps, store, NoDisplay()).complete
    processes = {path.read_text().split()[2] for path in folder.iterdir()}
    assert len(processes) <= 4


def test_more_than_the_cluster_has_is_refused_at_once(store: Store, recorder: Recorder):
    steps = [make_step("stage", runs_as="trial", resources=Resources(cpus=1, gpus=3))]
    with pytest.raises(ResourceError, match="stage steps ask for 1 CPU, 3 GPUs each, more GPUs"):
        run(steps, store, recorder)
    assert recorder.events == []


def test_a_damaged_input_is_set_aside_and_made_again(store: Store, recorder: Recorder):
    data = make_step("data")
    readers = [make_step(f"read by {kind}", [data], runs_as=kind) for kind in KINDS]
    run([data], store, NoDisplay())
    before = contents(store)
    (store.folder(data.key) / "name.txt").write_text("changed by somebody")
    report = run(readers, store, recorder)
    assert report.complete
    assert set(report.done) == {data.key, *(reader.key for reader in readers)}
    assert recorder.of("started").count("data") == 1
    assert contents(store).items() >= before.items()
    [aside] = store.root.glob("damaged/*")
    assert aside.name.startswith(data.key)


def test_reports_of_tasks_and_trials_reach_the_display(store: Store, folder: Path):
    steps = [
        make_step(
            runs_as,
            function="counting",
            runs_as=runs_as,
            folder=str(folder),
            until=4,
            waits_at=3,
        )
        for runs_as in KINDS
    ]

    class Both(Recorder):
        def progress(self, step: Step, progress: Mapping[str, float]) -> None:
            super().progress(step, progress)
            if {"task", "trial"} <= set(self.of("progress")):
                (folder / "go").touch()

    display = Both()
    assert run(steps, store, display).complete
    assert all(report["fraction"] == 0.25 for report in display.reports[:1])
    assert not list((store.root / "progress").iterdir())


@pytest.mark.parametrize(
    ("case", "stop"),
    [("task", signal.SIGTERM), ("trial", signal.SIGINT), ("waiting trial", signal.SIGINT)],
)
def test_a_signal_ends_the_run_within_seconds(
    store: Store, folder: Path, case: str, stop: signal.Signals
):
    runs_as = "trial" if case == "trial" else "task"
    first = make_step(
        "first", function="counting", runs_as=runs_as, folder=str(folder), until=3, waits_at=2
    )
    waiting = [make_step("second", [first], runs_as="trial")] if case == "waiting trial" else []
    signalled: list[float] = []

    def react() -> None:
        signalled.append(time.monotonic())
        os.kill(os.getpid(), stop)

    before = signal.getsignal(stop)
    report = run([first, *waiting], store, Reacting(react))
    assert time.monotonic() - signalled[0] < 4
    assert signal.getsignal(stop) is before
    assert report.interrupted
    assert set(report.left) == {step.key for step in (first, *waiting)}
    assert not report.failed
    assert counted(folder, "first") == [1, 2]


def test_the_run_after_an_interrupted_one_continues(store: Store, folder: Path):
    step = make_step("count", function="counting", folder=str(folder), until=3, waits_at=2)
    assert run([step], store, Reacting(interrupt)).interrupted
    (folder / "go").touch()
    assert run([step], store, NoDisplay()).complete
    assert counted(folder, "count") == [1, 2, 3]


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_second_ctrl_c_ends_it_at_once(store: Store, folder: Path):
    step = make_step("count", function="counting", folder=str(folder), until=2, waits_at=1)

    def twice() -> None:
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        run([step], store, Reacting(twice))


SCRIPT = """
import json, sys
from pathlib import Path
from pdd_ray.runtime.run import NoDisplay, RunOptions, run_on_ray
from pdd_ray.core.store import Store
from tests.runtime.test_run_on_ray import killed_steps
if __name__ == "__main__":
    store, folder = Store(sys.argv[1]).open(), Path(sys.argv[2])
    report = run_on_ray(killed_steps(folder), store, RunOptions(cpus=2, gpus=0), NoDisplay())
    print(json.dumps({"interrupted": report.interrupted}))
"""


def killed_steps(folder: Path) -> list[Step]:
    """Return a task before a trial that counts and waits, and one beside it."""
    common = {"function": "counting", "folder": str(folder), "waits_at": 2}
    first = make_step("before")
    return [
        make_step("stage", [first], runs_as="trial", until=3, **common),
        make_step("expert", [first], until=3, **common),
        make_step("last", [first]),
    ]


def start_driver(store: Store, folder: Path) -> subprocess.Popen[str]:
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith("RAY_AUTH")
    }
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(store.root), str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until_counting(driver: subprocess.Popen[str], store: Store) -> None:
    """Wait until both steps have saved that they are at 2."""
    deadline = time.monotonic() + 60
    while [path.read_text() for path in store.root.glob("partial/*/count")] != ["2", "2"]:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_driver_and_one_that_got_ctrl_c_lose_nothing(store: Store, folder: Path):
    driver = start_driver(store, folder)
    wait_until_counting(driver, store)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: Ray's processes get it too
    started = time.monotonic()
    output, errors = driver.communicate(timeout=20)
    assert time.monotonic() - started < 8
    assert json.loads(output)["interrupted"]
    assert errors == ""

    driver = start_driver(store, folder)
    wait_until_counting(driver, store)
    driver.kill()
    driver.communicate()

    (folder / "go").touch()
    assert run(killed_steps(folder), store, NoDisplay()).complete
    assert counted(folder, "stage") == counted(folder, "expert") == [1, 2, 3]


def test_a_run_with_nothing_to_do_does_not_load_ray(store: Store):
    run_serially([make_step("only")], store)
    code = (
        "import sys\n"
        "from pdd_ray.runtime.run import *\n"
        "from pdd_ray.core.store import Store\n"
        "from tests.runtime.builders import make_step\n"
        "report = run_on_ray([make_step('only')], Store(sys.argv[1]), RunOptions(), NoDisplay())\n"
        "assert report.complete and len(report.cached) == 1\n"
        "assert not {'ray', 'torch'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(store.root)]
    subprocess.run(command, check=True, cwd=ROOT)
