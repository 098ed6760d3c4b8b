"""What happens in a worker, and how lost workers are counted."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pdd_ray.core.steps import no_progress
from pdd_ray.runtime.attempts import MOST_CRASHES, Attempts
from pdd_ray.runtime.worker import StepOutcome, execute_and_tell, read_progress
from tests.ray_cluster import ROOT
from tests.runtime.builders import make_step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store


def outcome(step: Step, store: Store) -> StepOutcome:
    return execute_and_tell(step.call, str(store.root), no_progress)


def test_the_outcome_tells_how_a_step_ended(store: Store):
    data = make_step("data")
    assert outcome(data, store) == StepOutcome("done")
    bad = make_step("bad", function="failing", iteration=3)
    assert outcome(bad, store) == StepOutcome("failed", "the loss is nan in iteration 3")
    (store.folder(data.key) / "name.txt").unlink()
    reader = make_step("reader", [data])
    assert outcome(reader, store) == StepOutcome(
        "damaged", f"artifact {data.key} is damaged: name.txt is missing", data.key
    )


def test_a_function_that_cannot_be_found_is_a_failure(store: Store):
    assert outcome(make_step("typo", function="emtpy"), store).status == "failed"


def test_reports_are_passed_on_at_most_once_a_second(store: Store, folder: Path):
    reports: list[Mapping[str, float]] = []
    step = make_step("count", function="counting", folder=str(folder), until=50)
    times = itertools.count(0, 0.25)  # of the reports that the step makes
    execute_and_tell(step.call, str(store.root), reports.append, lambda: next(times))
    assert reports == [{"fraction": count / 50} for count in range(1, 51, 4)]


def test_the_last_report_is_readable_while_the_step_runs(store: Store, folder: Path):
    step = make_step("count", function="counting", folder=str(folder), until=3)
    seen: list[Mapping[str, float]] = []
    execute_and_tell(
        step.call, str(store.root), lambda _report: seen.append(read_progress(store, step.key))
    )
    assert seen == [{"fraction": pytest.approx(1 / 3)}]
    assert not store.progress_path(step.key).exists()
    assert read_progress(store, step.key) == {}


def test_workers_lost_without_progress_are_counted(store: Store):
    attempts = Attempts(store, most=3)
    allowed = []
    for _ in range(3):
        attempts.started("stage-1")
        allowed.append(attempts.crashed("stage-1"))
    assert allowed == [True, True, False]
    assert attempts.crashes("stage-1") == 3


def test_progress_starts_the_count_again_but_not_for_ever(store: Store):
    attempts = Attempts(store, most=2)
    saved = store.partial("stage-1") / "state"
    for crash in range(1, MOST_CRASHES + 1):
        attempts.started("stage-1")
        saved.write_text("." * crash)
        assert attempts.crashed("stage-1") == (crash < MOST_CRASHES)


@pytest.mark.slow
def test_torch_has_the_threads_of_the_step_even_if_the_step_loads_it_itself(store: Store):
    code = (
        "import sys\n"
        "from pdd_ray.core.steps import Resources, run_serially\n"
        "from pdd_ray.core.store import Store\n"
        "from tests.runtime.builders import make_step\n"
        "steps = [make_step(str(n), function='torch_threads', resources=Resources(cpus=n))\n"
        "         for n in (1, 2, 3)]\n"
        "run_serially(steps, Store(sys.argv[1]))\n"
    )
    environment = {name: text for name, text in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code, str(store.root)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    found = sorted(path.read_text() for path in store.root.glob("artifacts/*/*/threads"))
    assert found == ["1", "2", "3"]
