"""Executing steps on Ray: the one entry to this package."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pdd_ray.runtime.batches import Speeds
from pdd_ray.runtime.interface import Display, NoDisplay, RunOptions, RunOutcome
from pdd_ray.runtime.interrupts import Interrupts
from pdd_ray.runtime.scheduler import UNFINISHED, RunState, Scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store

__all__ = ["Display", "NoDisplay", "RunOptions", "RunOutcome", "run_on_ray"]

STALE_SECONDS = 24 * 3600
"""Age from which folders of writers that died are removed."""


def run_on_ray(
    steps: Sequence[Step], store: Store, options: RunOptions, display: Display
) -> RunOutcome:
    """Make the artifacts of ``steps``, and of all they need, as far as they are missing.

    Ray is not even imported if nothing is missing. Ctrl-C or SIGTERM end the run within
    seconds; its progress is in the store, and calling this again continues it.

    Raises:
        ResourceError: if Ray can't be had, or a step asks for more than it has.
        StoreError: if the store can't be used.
        KeyboardInterrupt: at the second Ctrl-C.
    """
    started = time.monotonic()
    scheduler = Scheduler(
        steps, store.exists, max_trials=options.max_concurrent_stages, speeds=Speeds()
    )
    interrupted = False
    if scheduler.active:
        store.clear_stale(STALE_SECONDS)
        interrupted = _run(scheduler, store, options, display)
    return outcome(scheduler, interrupted, time.monotonic() - started)


def outcome(scheduler: Scheduler, interrupted: bool, seconds: float) -> RunOutcome:
    """Return what became of the steps of ``scheduler``."""
    done = scheduler.keys(RunState.DONE)
    return RunOutcome(
        done=tuple(key for key in done if key not in scheduler.cached),
        cached=tuple(key for key in done if key in scheduler.cached),
        failed=dict(scheduler.failed),
        blocked=dict(scheduler.blocked),
        left=scheduler.keys(*UNFINISHED),
        interrupted=interrupted,
        seconds=seconds,
    )


def _run(scheduler: Scheduler, store: Store, options: RunOptions, display: Display) -> bool:
    """Run all that is to be done; return whether the user stopped it."""
    from pdd_ray.runtime.cluster import connected
    from pdd_ray.runtime.requirements import check_fits

    steps = [scheduler.steps[key] for key in scheduler.keys(*UNFINISHED)]
    trial_cpus = max((step.resources.cpus for step in steps if step.runs_as == "trial"), default=0)
    with Interrupts() as interrupts, connected(options, store.ray_log, trial_cpus) as cluster:
        from pdd_ray.runtime.driver import Driver
        from pdd_ray.runtime.supervisor import drive
        from pdd_ray.runtime.tasks import TaskPool

        interrupts.install()  # Ray has put its own in place
        check_fits(steps, cluster.capacity())
        driver = Driver(
            scheduler,
            store,
            tasks=TaskPool(store),
            capacity=cluster.capacity,
            options=options,
            display=display,
            interrupts=interrupts,
        )
        drive(driver)
        return interrupts.requested
