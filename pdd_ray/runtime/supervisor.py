"""The loop around Ray: Tune runs while there are trials, plain polling while there are not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pdd_ray.core.errors import ResourceError
from pdd_ray.runtime.attempts import MOST_CRASHES
from pdd_ray.runtime.driver import StopRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdd_ray.runtime.driver import Driver
    from pdd_ray.runtime.searcher import StageSearcher

    Fit = Callable[[Driver, StageSearcher], None]
    """Runs what the searcher suggests until it suggests no more, as ``Tuner.fit`` does."""

POLL_SECONDS = 0.1
MOST_LOST_RUNS = 3
"""Tune runs in a row that may end with an error while no trial was running."""

log = logging.getLogger("ray")


def fit_with_tune(driver: Driver, searcher: StageSearcher) -> None:
    """Run the trials that ``searcher`` suggests as Ray Tune trials, until it suggests no more."""
    from ray import tune

    from pdd_ray.runtime.searcher import WatchingScheduler
    from pdd_ray.runtime.trials import run_trial, trial_resources

    calls = {
        key: step.call for key, step in driver.scheduler.steps.items() if step.runs_as == "trial"
    }
    trainable = tune.with_parameters(run_trial, root=str(driver.store.root), calls=calls)
    with driver.store.scratch("tune") as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, trial_resources),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=WatchingScheduler(searcher),
                num_samples=(len(calls) + 1) * MOST_CRASHES,
                max_concurrent_trials=len(calls),
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="stages",
                storage_path=str(folder),
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        )
        tuner.fit()


def drive(driver: Driver, fit: Fit = fit_with_tune) -> None:
    """Run everything that can be run, or as far as the run is to go, and tell the display.

    Raises:
        ResourceError: if Tune can't be kept running, or nothing fits on the cluster any more.
    """
    scheduler = driver.scheduler
    driver.display.begin(tuple(scheduler.steps.values()), frozenset(scheduler.cached))
    try:
        try:
            _run_until_done(driver, fit)
        finally:
            driver.tasks.kill()
    except StopRun:
        pass
    finally:
        driver.display.end()


def _run_until_done(driver: Driver, fit: Fit) -> None:
    """Run everything that can be run.

    Raises:
        StopRun: if the run is to end before.
        ResourceError: if Tune can't be kept running.
    """
    lost_runs = 0
    while driver.scheduler.active:
        if not driver.scheduler.has_trials:
            _poll_tasks(driver)
        elif _run_trials(driver, fit):
            lost_runs = 0
        else:
            lost_runs += 1
            if lost_runs >= MOST_LOST_RUNS:
                msg = (
                    f"Ray Tune ended {lost_runs} times without having run anything; "
                    f"see {driver.store.ray_log}"
                )
                raise ResourceError(msg)


def _poll_tasks(driver: Driver) -> None:
    while driver.scheduler.active and not driver.scheduler.has_trials:
        driver.poll()
        driver.tasks.wait(POLL_SECONDS)


def _run_trials(driver: Driver, fit: Fit) -> bool:
    """Run Tune until no trial is left, or until it fails; return whether that got us on.

    When ``fit`` raises, every running trial counts as having lost its worker.
    """
    from ray.exceptions import RayError

    from pdd_ray.runtime.searcher import StageSearcher

    searcher = StageSearcher(driver)
    before = len(driver.scheduler.running)
    reason = "its Tune run ended"
    try:
        fit(driver, searcher)
    except (RayError, RuntimeError, ValueError, AssertionError) as error:
        log.warning("Tune ended with an error", exc_info=True)
        reason = " ".join(str(error).split())[:200]
    except BaseException:
        searcher.actors.kill()
        raise
    lost = searcher.give_up(reason)
    return lost > 0 or not driver.scheduler.has_trials or before != len(driver.scheduler.running)


def _trial_name(trial: object) -> str:
    return str(trial.trial_id)  # type: ignore[attr-defined] # Ray is untyped
