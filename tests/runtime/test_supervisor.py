"""What is done when Tune, or Ray itself, does not do what it should."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from pdd_ray.core.errors import ResourceError
from pdd_ray.runtime.cluster import start_or_join
from pdd_ray.runtime.interface import RunOptions
from pdd_ray.runtime.run import STALE_SECONDS
from tests.runtime.builders import Recorder, make_step
from tests.runtime.workers import Workers, run_here

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.core.store import Store
    from pdd_ray.runtime.driver import Driver
    from pdd_ray.runtime.searcher import StageSearcher
    from pdd_ray.runtime.supervisor import Fit

MEMORY_MONITOR = RuntimeError("Caught unexpected exception: Task was killed due to low memory")


def lose_trials(_driver: Driver, searcher: StageSearcher) -> None:
    """Start a trial, and fail as Tune does when the memory monitor kills its worker."""
    searcher.suggest("lost")
    raise MEMORY_MONITOR


def one_after_the_other(*fits: Fit) -> Fit:
    """Return what does the same as the next of ``fits`` at each call."""
    left = iter(fits)
    return lambda driver, searcher: next(left)(driver, searcher)


def test_a_tune_run_that_ends_with_an_error_is_started_again(store: Store, recorder: Recorder):
    workers = Workers(store)
    first = make_step("stage 1", runs_as="trial")
    second = make_step("stage 2", [first], runs_as="trial")
    fit = one_after_the_other(lose_trials, lose_trials, workers.fit)
    assert run_here([second], workers, recorder, fit=fit).complete
    assert recorder.of("retried") == ["stage 1", "stage 1"]


def test_a_trial_that_always_ends_tune_is_given_up_and_the_others_go_on(
    store: Store, recorder: Recorder
):
    workers = Workers(store)
    hog = make_step("hog", runs_as="trial", operations=9)
    other = make_step("other", runs_as="trial")
    steps = [hog, other, make_step("below", [hog])]
    fit = one_after_the_other(lose_trials, lose_trials, lose_trials, workers.fit)
    report = run_here(steps, workers, recorder, RunOptions(max_concurrent_stages=1), fit)
    assert list(report.failed) == [hog.key]
    assert "killed due to low memory" in report.failed[hog.key]
    assert report.done == (other.key,)
    assert len(report.blocked) == 1


def test_a_tune_that_never_runs_anything_ends_the_run(store: Store, recorder: Recorder):
    def fail(_driver: Driver, _searcher: StageSearcher) -> None:
        raise MEMORY_MONITOR

    with pytest.raises(ResourceError, match="without having run anything"):
        run_here([make_step("stage", runs_as="trial")], Workers(store), recorder, fit=fail)
    assert recorder.events[-1] == ("end", "")


def test_ray_is_started_once_more_and_then_given_up(monkeypatch: pytest.MonkeyPatch):
    import ray

    tries: list[str | None] = []

    def init(options: RunOptions, _spare_cpus: int) -> None:
        tries.append(options.address)
        msg = "no answer\nfrom the head"
        raise ConnectionError(msg)

    monkeypatch.setattr(ray, "shutdown", lambda: None)  # the shared Ray goes on
    with pytest.raises(ResourceError, match="could not reach Ray at there:1: no answer from the"):
        start_or_join(RunOptions(address="there:1"), 0, init)
    assert tries == ["there:1", "there:1"]


def test_what_dead_writers_left_is_removed_after_a_day(store: Store):
    def leave(key: str, hours: float) -> Path:
        folder = store.begin(key)
        then = time.time() - 3600 * hours
        os.utime(folder, (then, then))
        return folder

    recent, old, saving = leave("stage-1", 23), leave("stage-2", 25), leave("stage-3", 25)
    (store.partial("stage-3") / "state").touch()
    store.clear_stale(STALE_SECONDS)
    assert [folder.exists() for folder in (recent, old, saving)] == [True, False, True]
