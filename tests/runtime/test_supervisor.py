"""What is done when Tune, or Ray itself, does not do what it should."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from pdd_ray.core.errors import ResourceError
from pdd_ray.core.steps import no_progress
from pdd_ray.runtime import cluster, run, supervisor
from pdd_ray.runtime.interface import NoDisplay, RunOptions
from pdd_ray.runtime.run import run_on_ray
from pdd_ray.runtime.worker import execute_and_tell
from tests.runtime.builders import Recorder, make_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pdd_ray.core.store import Store
    from pdd_ray.runtime.driver import Driver
    from pdd_ray.runtime.searcher import StageSearcher

    Fit = Callable[[Driver, StageSearcher], None]

pytestmark = pytest.mark.ray
MEMORY_MONITOR = RuntimeError("Caught unexpected exception: Task was killed due to low memory")


@pytest.fixture(autouse=True)
def _on_the_shared_ray(ray_cluster: None) -> None:
    """Start Ray before the first of these tests."""


def fit_here(driver: Driver, searcher: StageSearcher) -> None:
    """Do what Tune does, in this process, one trial after the other."""
    number = 0
    while isinstance(config := searcher.suggest(str(number)), dict):
        step = driver.scheduler.steps[str(config["key"])]
        outcome = execute_and_tell(step.call, str(driver.store.root), no_progress)
        searcher.on_trial_complete(str(number), outcome.to_json())
        number += 1


def lose_trials(_driver: Driver, searcher: StageSearcher) -> None:
    """Start a trial, and fail as Tune does when the memory monitor kills its worker."""
    searcher.suggest("lost")
    raise MEMORY_MONITOR


def use(monkeypatch: pytest.MonkeyPatch, *fits: Fit) -> list[Fit]:
    """Have Tune replaced by ``fits``, the last one again and again; return those to come."""
    left = list(fits)

    def fit(driver: Driver, searcher: StageSearcher) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(driver, searcher)

    monkeypatch.setattr(supervisor, "_fit", fit)
    return left


def test_a_tune_run_that_ends_with_an_error_is_started_again(
    store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, lose_trials, lose_trials, fit_here)
    first = make_step("stage 1", runs_as="trial")
    second = make_step("stage 2", [first], runs_as="trial")
    report = run_on_ray([second], store, RunOptions(), recorder)
    assert report.complete
    assert recorder.of("retried") == ["stage 1", "stage 1"]


def test_a_trial_that_always_ends_tune_is_given_up_and_the_others_go_on(
    store: Store, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    use(monkeypatch, lose_trials, lose_trials, lose_trials, fit_here)
    hog = make_step("hog", runs_as="trial", operations=9)
    other = make_step("other", runs_as="trial")
    steps = [hog, other, make_step("below", [hog])]
    report = run_on_ray(steps, store, RunOptions(max_concurrent_stages=1), recorder)
    assert list(report.failed) == [hog.key]
    assert "killed due to low memory" in report.failed[hog.key]
    assert report.done == (other.key,)
    assert len(report.blocked) == 1


def test_a_tune_that_never_runs_anything_ends_the_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    def fail(_driver: Driver, _searcher: StageSearcher) -> None:
        raise MEMORY_MONITOR

    use(monkeypatch, fail)
    with pytest.raises(ResourceError, match="without having run anything"):
        run_on_ray([make_step("stage", runs_as="trial")], store, RunOptions(), NoDisplay())


def test_ray_is_started_once_more_and_then_given_up(monkeypatch: pytest.MonkeyPatch):
    import ray

    tries: list[str | None] = []

    def init(options: RunOptions, _spare_cpus: int) -> None:
        tries.append(options.address)
        msg = "no answer\nfrom the head"
        raise ConnectionError(msg)

    monkeypatch.setattr(cluster, "_init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(ResourceError, match="could not reach Ray at there:1: no answer from the"):
        cluster._init_twice(RunOptions(address="there:1"), 0)
    assert tries == ["there:1", "there:1"]


def test_the_environment_and_the_log_handlers_are_as_before(store: Store):
    import logging

    environment, handlers = dict(os.environ), list(logging.getLogger("ray").handlers)
    assert run_on_ray([make_step("only")], store, RunOptions(), NoDisplay()).complete
    assert dict(os.environ) == environment
    assert logging.getLogger("ray").handlers == handlers


def test_what_dead_writers_left_is_removed_after_a_day(store: Store):
    def leave(key: str, hours: float) -> Path:
        folder = store.begin(key)
        then = time.time() - 3600 * hours
        os.utime(folder, (then, then))
        return folder

    recent, old, saving = leave("stage-1", 23), leave("stage-2", 25), leave("stage-3", 25)
    (store.partial("stage-3") / "state").touch()
    store.clear_stale(run.STALE_SECONDS)
    assert [folder.exists() for folder in (recent, old, saving)] == [True, False, True]
