"""Steps as Ray tasks: launching them, asking for the finished ones, killing the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from pdd_ray.core.steps import no_progress, one_line
from pdd_ray.runtime.worker import StepOutcome, execute_and_tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdd_ray.core.steps import Step, StepCall
    from pdd_ray.core.store import Store


KILL_SECONDS = 3.0
"""Longest wait for killed workers to be gone."""


def run_step(call: StepCall, root: str) -> StepOutcome:
    """Execute a step in a worker; its progress goes to its file in the store."""
    return execute_and_tell(call, root, no_progress)


class TaskPool:
    """The tasks that were launched and not asked for yet.

    Ray's own retries are off: whether a step is tried again is decided in one place, by its
    progress. Workers that held no GPU are reused, so each loads torch once; those that did end
    with their task, because a CUDA context can't move to the GPU of the next one. Ray sees to that
    by itself only where GPUs are asked for when a function is declared, not in its options.
    """

    def __init__(self, store: Store) -> None:
        self._root = str(store.root)
        self._reused = ray.remote(run_step)
        self._used_once = ray.remote(max_calls=1)(run_step)
        self._running: dict[Any, str] = {}

    def launch(self, step: Step) -> None:
        """Give ``step`` to Ray."""
        resources = step.resources
        remote = self._used_once if resources.gpus else self._reused
        reference = remote.options(
            name=step.label or step.key,
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=resources.memory,
            max_retries=0,
        ).remote(step.call, self._root)
        self._running[reference] = step.key

    def finished(self) -> Iterator[tuple[str, StepOutcome | str]]:
        """Yield keys of tasks that ended, with the outcome or, if the worker died, the reason."""
        ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        for reference in ready:
            yield self._running.pop(reference), _result(reference)

    def wait(self, seconds: float) -> None:
        """Return when a task has ended, at the latest after ``seconds``."""
        if self._running:
            ray.wait(list(self._running), num_returns=1, timeout=seconds)
        else:
            time.sleep(seconds)

    def kill(self) -> None:
        """End all tasks at once; what they saved of their progress stays.

        Waits until their workers are gone, so that a run after this one is alone. One that Ray is
        just starting can survive it, if Ray itself goes on; it then finishes its step.
        """
        references = list(self._running)
        self._running.clear()
        for reference in references:
            ray.cancel(reference, force=True)
        ray.wait(references, num_returns=len(references), timeout=KILL_SECONDS)


def _result(reference: Any) -> StepOutcome | str:  # noqa: ANN401 - Ray's references are untyped
    try:
        outcome: StepOutcome = ray.get(reference)
    except (RayTaskError, TaskCancelledError) as error:
        return StepOutcome("failed", one_line(getattr(error, "cause", None) or error))
    except RayError as error:
        return type(error).__name__
    return outcome
