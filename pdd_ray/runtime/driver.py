"""The driver's side of a run: launches what is next and deals with what comes back."""

from __future__ import annotations

import time
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from pdd_ray.core.errors import DamagedArtifactError, ResourceError
from pdd_ray.core.out_of_memory import advice
from pdd_ray.runtime.attempts import Attempts
from pdd_ray.runtime.scheduler import UNFINISHED, RunState, Scheduler
from pdd_ray.runtime.worker import StepOutcome, read_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store
    from pdd_ray.runtime.batches import Batch
    from pdd_ray.runtime.capacity import Capacity
    from pdd_ray.runtime.interface import Display, RunOptions, Tasks
    from pdd_ray.runtime.interrupts import Interrupts

PROGRESS_SECONDS = 1.0
"""Time between two looks at the progress of running steps."""
CAPACITY_SECONDS = 10.0
"""Time between two looks at what the cluster has: machines come and go."""
STALL_SECONDS = 600.0
"""Time for which a ready step may fit on no machine, with nothing running, before we give up."""
MOST_DAMAGES = 3
"""Times that a step may find an input damaged."""


class StopRun(BaseException):
    """Ends a run where it is, through Tune's own handlers for errors."""


class Driver:
    """Connects the scheduler with the running tasks, the store and the display.

    :meth:`poll` is called again and again, by a plain loop or by Tune's; trials are handed to
    the caller, and their ends are told with :meth:`settle`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        *,
        tasks: Tasks,
        capacity: Callable[[], Capacity],
        options: RunOptions,
        display: Display,
        interrupts: Interrupts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scheduler = scheduler
        self.store = store
        self.tasks = tasks
        self.display = display
        self.capacity = capacity()
        self._ask_capacity = capacity
        self._interrupts = interrupts
        self._options = options
        self._clock = clock
        self._attempts = Attempts(store, options.max_attempts)
        self._damages: Counter[str] = Counter()
        self._started: dict[str, float] = {}
        self._looked = {"progress": clock(), "capacity": clock()}
        self._moved = clock()

    def poll(self) -> list[Step]:
        """Take in what ended, launch what is next, and return the trials among it.

        Raises:
            StopRun: if the run is to end.
            ResourceError: if nothing has fitted on the cluster for a long time.
        """
        self.check_stop()
        for key, result in self.tasks.finished():
            self.settle(key, result)
        self.check_stop()
        self._look_at_cluster()
        trials = []
        for batch in self.scheduler.launch(self.capacity):
            self._prepare(batch)
            if batch[0][0].runs_as == "trial":
                trials.append(batch[0][0])
            else:
                self.tasks.launch(batch)
        self._begin()
        self._check_stall()
        self._show_progress()
        return trials

    def check_stop(self) -> None:
        """Raise StopRun if the user, or a failure under ``fail_fast``, asks for the end."""
        if self._interrupts.requested or (self._options.fail_fast and self.scheduler.failed):
            raise StopRun

    def settle(self, key: str, result: StepOutcome | str) -> None:
        """Take in how the running step ``key`` ended; a text says how its worker died."""
        if isinstance(result, str):
            self._lost(key, result)
        elif result.status == "done":
            self.scheduler.took(key, result.seconds)
            self._succeeded(key)
        elif result.status == "damaged":
            self._damaged(key, result)
        elif result.status == "left":
            self._show_blocked(self.scheduler.again(key))
        else:
            self._fail(key, result.message)
        self._begin()

    def put_back(self, key: str, reason: str) -> None:
        """Have the running step ``key`` launched again."""
        blocked = self.scheduler.again(key)
        self.display.retried(self.scheduler.steps[key], reason)
        self._show_blocked(blocked)

    def _prepare(self, batch: Batch) -> None:
        for step in chain.from_iterable(batch):
            self.store.progress_path(step.key).unlink(missing_ok=True)
            self._attempts.started(step.key)

    def _begin(self) -> None:
        """Show the steps that workers have begun, the first ones of a batch or later ones."""
        for step in self.scheduler.begun():
            self._started[step.key] = self._clock()
            self.display.started(step)

    def _succeeded(self, key: str) -> None:
        self.scheduler.succeeded(key)
        seconds = self._clock() - self._started[key]
        self.display.finished(self.scheduler.steps[key], seconds)

    def _lost(self, key: str, reason: str) -> None:
        if self.store.exists(key):  # it died after its work was committed
            self._succeeded(key)
        elif self._attempts.crashed(key):
            self.put_back(key, f"its worker died ({reason})")
        else:
            helps = advice(self.scheduler.steps[key].call, "cpu")
            self._fail(
                key,
                f"its worker died {self._attempts.crashes(key)} times ({reason}); often the "
                f"memory was not enough: {helps}",
            )

    def _damaged(self, key: str, outcome: StepOutcome) -> None:
        """Have the damaged input made again, then the step."""
        self._damages[key] += 1
        damaged = outcome.damaged
        if damaged not in self.scheduler.steps or self._damages[key] > MOST_DAMAGES:
            self._fail(key, outcome.message)
            return
        blocked: list[str] = []
        if self.scheduler.state(damaged) is RunState.DONE and self._is_damaged(damaged):
            self.store.set_aside(damaged)
            blocked = self.scheduler.remake(damaged)
        self.put_back(key, outcome.message)
        self._show_blocked(blocked)

    def _is_damaged(self, key: str) -> bool:
        try:
            self.store.verify(key, quick=True)
        except DamagedArtifactError:
            return True
        return False

    def _fail(self, key: str, message: str) -> None:
        recorded = self.store.failure(key)
        if recorded is None or recorded.message != message:
            self.store.record_failure(key, message)
        blocked = self.scheduler.fail(key, message)
        steps = self.scheduler.steps
        self.display.failed(steps[key], message, [steps[child] for child in blocked])

    def _show_blocked(self, blocked: list[str]) -> None:
        """Show steps that an earlier failure blocks only now."""
        steps, by = self.scheduler.steps, self.scheduler.blocked
        for culprit in {by[key] for key in blocked}:
            message = self.scheduler.failed[culprit]
            now = [steps[key] for key in blocked if by[key] == culprit]
            self.display.failed(steps[culprit], message, now)

    def _look_at_cluster(self) -> None:
        if self._due("capacity", CAPACITY_SECONDS):
            capacity = self._ask_capacity()
            if capacity != self.capacity:
                self.capacity = capacity
                self.scheduler.capacity_changed()

    def _check_stall(self) -> None:
        if self.scheduler.running or not self.scheduler.active:
            self._moved = self._clock()
        elif self._clock() - self._moved > STALL_SECONDS:
            waiting = self.scheduler.steps[self.scheduler.keys(*UNFINISHED)[0]]
            msg = (
                f"{waiting.label or waiting.key} has found no machine of the cluster that has "
                f"{waiting.resources}, for {STALL_SECONDS:.0f} s; was a machine lost? "
                "Run again when it is back: what was done is kept"
            )
            raise ResourceError(msg)

    def _show_progress(self) -> None:
        if self._due("progress", PROGRESS_SECONDS):
            for key in self.scheduler.running:
                if progress := read_progress(self.store, key):
                    self.display.progress(self.scheduler.steps[key], progress)

    def _due(self, what: str, seconds: float) -> bool:
        now = self._clock()
        if now - self._looked[what] < seconds:
            return False
        self._looked[what] = now
        return True
