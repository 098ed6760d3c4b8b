"""Steps executed on a real, local Ray with two CPUs and two logical GPUs."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pdd_ray.core.errors import ResourceError
from pdd_ray.core.operations import Operation
from pdd_ray.core.steps import Resources, Step, run_serially
from pdd_ray.core.store import Store
from pdd_ray.runtime.run import NoDisplay, RunOptions, run_on_ray
from tests.ray_cluster import ROOT
from tests.runtime.builders import (
    KINDS,
    Reacting,
    Recorder,
    contents,
    counted,
    diamonds,
    make_step,
)
from tests.runtime.step_functions import LONGEST_WAIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdd_ray.runtime.interface import Display, RunOutcome

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def _on_the_shared_ray(ray_cluster: None) -> None:
    """Start Ray before the first of these tests."""


def run(
    steps: Sequence[Step], store: Store, display: Display, options: RunOptions | None = None
) -> RunOutcome:
    return run_on_ray(steps, store, options or RunOptions(), display)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Store:
    """A store on which Ray has run :func:`diamonds` on both CPUs."""
    store, recorder = Store(tmp_path_factory.mktemp("finished")).open(), Recorder()
    assert run(diamonds(), store, recorder).complete
    assert recorder.events[-1] == ("end", "")
    return store


def test_nothing_but_the_artifacts_and_logs_is_left(finished: Store):
    assert sorted(path.name for path in finished.root.iterdir() if any_file(path)) == [
        "artifacts",
        "logs",
        "store.json",
    ]


def any_file(path: Path) -> bool:
    return path.is_file() or any(child.is_file() for child in path.rglob("*"))


def test_serially_or_on_one_or_two_cpus_the_bytes_are_the_same(finished: Store, tmp_path: Path):
    serial, one_at_a_time = Store(tmp_path / "serial").open(), Store(tmp_path / "one").open()
    run_serially(diamonds(), serial)
    assert run(diamonds(cpus=2), one_at_a_time, NoDisplay()).complete
    assert contents(serial) == contents(finished) == contents(one_at_a_time)


def test_a_failure_comes_back_with_its_message_and_leaves_its_traceback(store: Store):
    steps = [
        make_step(f"bad {kind}", function="failing", runs_as=kind, iteration=number)
        for number, kind in enumerate(KINDS)
    ]
    report = run(steps, store, NoDisplay())
    assert report.failed == {
        step.key: f"the loss is nan in iteration {number}" for number, step in enumerate(steps)
    }
    assert all("Traceback" in store.log_path(step.key).read_text() for step in steps)


@pytest.mark.slow
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


@pytest.mark.slow  # starts a worker for every step
def test_tasks_get_the_gpus_of_a_trial_that_has_ended(store: Store, recorder: Recorder):
    all_gpus = Resources(cpus=1, gpus=2)
    first = make_step("stage 1", runs_as="trial", resources=all_gpus)
    expert = make_step("expert", [first], resources=all_gpus)
    second = make_step("stage 2", [expert], runs_as="trial", resources=all_gpus)
    assert run([second], store, recorder).complete


@pytest.mark.slow
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


@pytest.mark.slow
def test_no_process_ever_sees_two_gpus(store: Store, folder: Path):
    steps = [
        make_step(
            f"{gpus} GPUs, {number}",
            function="logged",
            folder=str(folder),
            seconds=0.1 * (number % 3),
            resources=Resources(cpus=0.25, gpus=gpus),
        )
        for number in range(6)
        for gpus in (0.5, 1)
    ]
    assert run(steps, store, NoDisplay()).complete
    traces = [path.read_text().split() for path in folder.iterdir()]
    seen: dict[str, set[str]] = {}
    for _, _, process, gpus in traces:
        seen.setdefault(process, set()).add(gpus)
    assert {gpus for found in seen.values() for gpus in found} == {"[0]", "[1]"}
    assert [found for found in seen.values() if len(found) > 1] == []


def test_workers_are_reused(store: Store, folder: Path):
    steps = [make_step(str(n), function="logged", folder=str(folder)) for n in range(12)]
    assert run(steps, store, NoDisplay()).complete
    processes = {path.read_text().split()[2] for path in folder.iterdir()}
    assert len(processes) <= 4


@pytest.mark.slow  # starts a worker for every batch
def test_small_steps_share_workers_that_hold_gpus(store: Store, folder: Path):
    on_gpu = Resources(cpus=0.25, gpus=1)
    steps = [
        make_step(str(n), function="logged", folder=str(folder), resources=on_gpu) for n in range(8)
    ]
    assert run(steps, store, NoDisplay()).complete
    traces = [path.read_text().split() for path in folder.iterdir()]
    assert len({process for _, _, process, _ in traces}) == 2
    assert {gpus for *_, gpus in traces} == {"[0]", "[1]"}


def alike(function: str) -> list[Step]:
    """Return steps of which two may be done at once, on a device that only has a name."""
    operation = Operation(
        "expert",
        "tests.runtime.step_functions:empty",
        together=f"tests.runtime.step_functions:{function}",
        differs=("number",),
    )
    resources = Resources(cpus=1, gpus=0.75, group=2)
    return [
        Step(operation, {"number": n}, label=f"{function} {n}", resources=resources, device="gpu")
        for n in range(4)
    ]


@pytest.mark.slow
def test_alike_steps_are_done_at_once_and_end_one_by_one(store: Store, recorder: Recorder):
    steps = alike("at_once")
    assert run(steps, store, recorder).complete
    assert sorted(recorder.of("finished")) == [step.label for step in steps]
    for step in steps:
        assert (store.folder(step.key) / "name.txt").read_text() == "2 at once"
        assert store.manifest(step.key)["together"] == 2


@pytest.mark.slow
def test_steps_that_die_at_once_are_tried_again_alone(store: Store, recorder: Recorder):
    steps = alike("dying_at_once")
    assert run(steps, store, recorder).complete
    assert sorted(recorder.of("retried")) == [step.label for step in steps]
    for step in steps:
        assert (store.folder(step.key) / "name.txt").read_text() == step.label


@pytest.mark.slow
def test_what_a_killed_worker_had_done_of_a_batch_is_kept(
    store: Store, folder: Path, recorder: Recorder
):
    common = {"function": "counting", "folder": str(folder), "until": 3}
    dying = make_step("dying", operations=3, dies_at=2, **common)
    before = [make_step(f"before {n}", operations=9 - n, **common) for n in range(3)]
    after = [make_step(f"after {n}", operations=1, **common) for n in range(12)]
    assert run([dying, *before, *after], store, recorder).complete
    assert recorder.of("retried") == ["dying"]
    assert sorted(recorder.of("started")) == sorted(["dying", *recorder.of("finished")])
    assert all(counted(folder, step.label) == [1, 2, 3] for step in [dying, *before, *after])


def test_more_than_the_cluster_has_is_refused_at_once(store: Store, recorder: Recorder):
    steps = [make_step("stage", runs_as="trial", resources=Resources(cpus=1, gpus=3))]
    with pytest.raises(ResourceError, match="stage steps ask for 1 CPU, 3 GPUs each, more GPUs"):
        run(steps, store, recorder)
    assert recorder.events == []


@pytest.mark.parametrize(
    ("kind", "stop"),
    [
        ("task", signal.SIGTERM),
        pytest.param("trial", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_at_a_signal_after_a_report_the_run_ends_without_waiting_for_the_step(
    store: Store, folder: Path, kind: str, stop: signal.Signals
):
    step = make_step(
        "first", function="counting", runs_as=kind, folder=str(folder), until=3, waits_at=2
    )
    before = signal.getsignal(stop)
    report = run([step], store, Reacting(lambda: os.kill(os.getpid(), stop)))
    assert signal.getsignal(stop) is before
    assert report.interrupted
    assert report.left == (step.key,)
    assert not report.failed
    assert counted(folder, "first") == [1, 2]  # it was still waiting


@pytest.mark.slow
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


def test_the_environment_and_the_log_handlers_are_as_before(store: Store):
    environment, handlers = dict(os.environ), list(logging.getLogger("ray").handlers)
    assert run_on_ray([make_step("only")], store, RunOptions(), NoDisplay()).complete
    assert dict(os.environ) == environment
    assert logging.getLogger("ray").handlers == handlers


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
    while [path.read_text() for path in store.root.glob("partial/*/count")] != ["2", "2"]:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_driver_and_one_that_got_ctrl_c_lose_nothing(store: Store, folder: Path):
    driver = start_driver(store, folder)
    wait_until_counting(driver, store)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: Ray's processes get it too
    output, errors = driver.communicate(timeout=LONGEST_WAIT / 2)  # no step is waited for
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
