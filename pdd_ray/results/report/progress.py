"""How far the sweep is: its plan by kind of step, what is running, and what failed and why."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdd_ray.results.report.logs import read_log
from pdd_ray.results.saved_sweeps import StepState

if TYPE_CHECKING:
    from pdd_ray.results.report.logs import Log
    from pdd_ray.results.report.snapshot import Snapshot
    from pdd_ray.results.saved_sweeps import SavedStep

RECENT_SECONDS = 120.0
"""Running steps report about once a second; without a report for this long, nothing runs."""
TRACEBACK_LINES = 60
TRACEBACK_BYTES = 16_000
"""What is shown of the log of a failed step at most."""
MOST_FAILURES = 100
"""Failed steps that are shown one by one."""


@dataclass(frozen=True)
class KindCount:
    """The steps of one kind.

    Attributes:
        kind: The kind.
        requested: Steps that the experiments would do if each was run alone.
        steps: Steps of the sweep, where what experiments share counts once.
        states: How many of them are in each state.
    """

    kind: str
    requested: int
    steps: int
    states: dict[StepState, int]


@dataclass(frozen=True)
class StartedStep:
    """A step that was started and is not done.

    Attributes:
        step: The step.
        fraction: What is done of it, in [0, 1]; None if it reports nothing.
        silent_seconds: Time since its last report; None likewise.
    """

    step: SavedStep
    fraction: float | None
    silent_seconds: float | None


@dataclass(frozen=True)
class FailedStep:
    """A step whose last try failed.

    Attributes:
        step: The step.
        message: Why, as one line.
        attempts: Tries in a row.
        log: The end of its log, with the traceback.
        blocked: Steps that need what it makes.
    """

    step: SavedStep
    message: str
    attempts: int
    log: Log | None
    blocked: int


@dataclass(frozen=True)
class Progress:
    """How far the sweep is.

    Attributes:
        kinds: Its steps by kind, in the order of the method.
        total: All of them together.
        started: Steps that were started and are not done.
        failed: Steps that failed, at most ``MOST_FAILURES``.
        running: Whether a step reported its progress in the last ``RECENT_SECONDS``.
    """

    kinds: tuple[KindCount, ...]
    total: KindCount
    started: tuple[StartedStep, ...]
    failed: tuple[FailedStep, ...]
    running: bool

    @property
    def complete(self) -> bool:
        """Whether every step is done."""
        return self.total.states[StepState.DONE] == self.total.steps


def read_progress(snapshot: Snapshot, now: float) -> Progress:
    """Return how far the sweep is at ``now``, in seconds since the epoch."""
    requested = Counter(
        step.kind for steps in snapshot.steps_by_experiment.values() for step in steps
    )
    status = snapshot.status
    started = tuple(
        _started(step, snapshot, now)
        for step in status.steps
        if snapshot.state(step) is StepState.STARTED
    )
    return Progress(
        kinds=tuple(_count(snapshot, kind, requested[kind], kind) for kind in status.kinds),
        total=_count(snapshot, "all", requested.total()),
        started=started,
        failed=tuple(_failed(key, snapshot) for key in list(status.failures)[:MOST_FAILURES]),
        running=any((one.silent_seconds or 0.0) < RECENT_SECONDS for one in _reporting(started)),
    )


def _count(snapshot: Snapshot, name: str, requested: int, kind: str | None = None) -> KindCount:
    states = {state: snapshot.status.count(state, kind) for state in StepState}
    return KindCount(name, requested, sum(states.values()), states)


def _reporting(started: tuple[StartedStep, ...]) -> list[StartedStep]:
    return [one for one in started if one.silent_seconds is not None]


def _started(step: SavedStep, snapshot: Snapshot, now: float) -> StartedStep:
    path = snapshot.store.progress_path(step.key)
    try:
        silent = max(0.0, now - path.stat().st_mtime)
        fraction = float(json.loads(path.read_text(encoding="utf-8"))["fraction"])
    except (OSError, ValueError, KeyError, TypeError):  # it ended, or is being written
        return StartedStep(step, None, None)
    return StartedStep(step, fraction, silent)


def _failed(key: str, snapshot: Snapshot) -> FailedStep:
    failure = snapshot.store.failure(key)
    return FailedStep(
        step=snapshot.steps[key],
        message=snapshot.status.failures[key],
        attempts=failure.attempts if failure else 1,
        log=read_log(snapshot.store.log_path(key), TRACEBACK_LINES, TRACEBACK_BYTES),
        blocked=_count_blocked(key, snapshot),
    )


def _count_blocked(key: str, snapshot: Snapshot) -> int:
    """Return how many blocked steps need, directly or not, what ``key`` makes."""
    needing = {key}
    for step in snapshot.status.steps:
        if needing.intersection(step.inputs.values()):
            needing.add(step.key)
    blocked = (snapshot.state(snapshot.steps[other]) is StepState.BLOCKED for other in needing)
    return sum(blocked)
