"""Steps as Ray tasks: launching them, asking for the finished ones, killing the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from pdd_ray.core.steps import no_progress, one_line
from pdd_ray.runtime.worker import StepOutcome, execute_group_and_tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdd_ray.core.steps import StepCall
    from pdd_ray.core.store import Store
    from pdd_ray.runtime.batches import Batch


KILL_SECONDS = 3.0
"""Longest wait for killed workers to be gone."""


def run_batch(groups: Sequence[Sequence[StepCall]], root: str) -> Iterator[StepOutcome]:
    """Execute the steps of a batch in a worker, and yield the outcome of each when it is known.

    Progress goes to the step's file in the store.
    """
    for calls in groups:
        yield from execute_group_and_tell(calls, root, no_progress)


class TaskPool:
    """The tasks that were launched and whose ends were not all asked for yet.

    A task does a batch of steps, and tells the end of each at once: what it has committed is known,
    and is kept if its worker dies.

    Ray's own retries are off: whether a step is tried again is decided in one place, by its
    progress. Workers that held no GPU are reused, so each loads torch once; those that did end
    with their task, because a CUDA context can't move to the GPU of the next one. Ray sees to that
    by itself only where GPUs are asked for when a function is declared, not in its options.
    """

    def __init__(self, store: Store) -> None:
        self._root = str(store.root)
        self._reused = ray.remote(run_batch)
        self._used_once = ray.remote(max_calls=1)(run_batch)
        self._running: dict[Any, list[list[str]]] = {}  # the groups that each has not ended

    def launch(self, batch: Batch) -> None:
        """Give the steps of ``batch`` to Ray as one task."""
        first = batch[0][0]
        resources = first.resources
        remote = self._used_once if resources.gpus else self._reused
        outcomes = remote.options(
            name=first.label or first.key,
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=resources.memory,
            max_retries=0,
        ).remote([[step.call for step in group] for group in batch], self._root)
        self._running[outcomes] = [[step.key for step in group] for group in batch]

    def finished(self) -> Iterator[tuple[str, StepOutcome | str]]:
        """Yield keys of steps that ended, with the outcome or, if the worker died, the reason.

        Where a worker has ended early, the keys that it had not begun come first, as ``left``.
        """
        for outcomes in _ready(list(self._running)):
            while outcomes in self._running and _ready([outcomes]):
                yield from self._next(outcomes)

    def wait(self, seconds: float) -> None:
        """Return when a step has ended, at the latest after ``seconds``."""
        if self._running:
            ray.wait(list(self._running), num_returns=1, timeout=seconds)
        else:
            time.sleep(seconds)

    def kill(self) -> None:
        """End all tasks at once; what they saved of their progress stays.

        Waits until their workers are gone, so that a run after this one is alone. One that Ray is
        just starting can survive it, if Ray itself goes on; it then finishes its step.
        """
        running = list(self._running)
        self._running.clear()
        for outcomes in running:
            ray.cancel(outcomes, force=True)
        ends = [outcomes.completed() for outcomes in running]
        ray.wait(ends, num_returns=len(ends), timeout=KILL_SECONDS)

    def _next(self, outcomes: Any) -> Iterator[tuple[str, StepOutcome | str]]:  # noqa: ANN401
        """Yield the end of the next step of a task, or of all of them if the task has ended."""
        groups = self._running[outcomes]
        result, ended = _result(outcomes)
        if ended:
            del self._running[outcomes]
            yield from ((key, StepOutcome("left")) for group in groups[1:] for key in group)
            yield from ((key, result) for key in groups[0])
            return
        yield groups[0].pop(0), result
        if not groups[0]:
            groups.pop(0)
        if not groups:
            del self._running[outcomes]


def _ready(outcomes: list[Any]) -> list[Any]:
    """Return those of some tasks whose next outcome is there."""
    ready: list[Any] = ray.wait(outcomes, num_returns=len(outcomes), timeout=0)[0]
    return ready


def _result(outcomes: Any) -> tuple[StepOutcome | str, bool]:  # noqa: ANN401 - Ray is untyped
    """Return the next outcome of a task, and whether the task has ended with it, too early."""
    try:
        outcome: StepOutcome = ray.get(next(outcomes))
    except (RayTaskError, TaskCancelledError) as error:
        return StepOutcome("failed", one_line(getattr(error, "cause", None) or error)), True
    except RayError as error:
        return type(error).__name__, True
    except StopIteration:
        return "it told no end", True
    return outcome, False
