"""Executing several steps that are alike at once: a way of computing, of which no key knows.

Each step still makes its own artifact, with its own progress and log. Where it can't be done, or
fails, each is to be executed alone, which says what is wrong with which of them.
"""

from __future__ import annotations

import traceback
from contextlib import ExitStack
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from pdd_ray.core.memory import freed_memory_is_reused
from pdd_ray.core.processes import prepared
from pdd_ray.core.provenance import Effort, Stopwatch, provenance
from pdd_ray.core.steps import begin, logged_to

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence

    from pdd_ray.core.steps import OnProgress, StepCall, StepContext
    from pdd_ray.core.store import Store

SERIAL_DEVICE = "cpu"
"""Bytes are promised there to be those of each step alone, and nothing is gained."""


def execute_together(
    calls: Sequence[StepCall], store: Store, on_progress: Sequence[OnProgress]
) -> bool:
    """Make the artifacts of ``calls`` at once; return whether that was done.

    If not, and also for what exists already, :func:`pdd_ray.core.steps.execute` is to be called for
    each: it goes on from the progress that was saved. Why is in the logs of the steps.

    Args:
        calls: Steps that are alike (:attr:`pdd_ray.core.steps.Step.likeness`), none of which
            exists.
        store: The store.
        on_progress: Receives the progress of each.
    """
    with ExitStack() as stack:
        outputs = [store.begin(call.key) for call in calls]
        for output in outputs:
            stack.callback(store.discard, output)
        logs = [stack.enter_context(logged_to(store.log_path(call.key))) for call in calls]
        try:
            contexts = [
                begin(call, store, output, progress)
                for call, output, progress in zip(calls, outputs, on_progress, strict=True)
            ]
            if contexts[0].device == SERIAL_DEVICE:
                return False
            _execute(calls, contexts, store, logs[0])
        except Exception:  # noqa: BLE001 - each alone will tell
            logs[0].warning(
                "%d steps could not be done at once, each is done alone now:\n%s",
                len(calls),
                traceback.format_exc(),
            )
            return False
    return True


def _execute(
    calls: Sequence[StepCall],
    contexts: Sequence[StepContext],
    store: Store,
    log: logging.Logger,
) -> None:
    """Do the work and commit the artifacts; the effort of each is its share."""
    log.info("%d steps start at once: %s", len(calls), ", ".join(call.label for call in calls))
    function: Callable[[Sequence[StepContext]], None] = resolve_name(calls[0].operation.together)
    stopwatch = Stopwatch()
    with freed_memory_is_reused():
        function(contexts)
    effort = stopwatch.effort()
    share = Effort(effort.seconds / len(calls), effort.cpu_seconds / len(calls))
    made = partial(provenance, settings=prepared(), effort=share)
    for call, context in zip(calls, contexts, strict=True):
        store.commit(call.key, context.output, {**made(call), "together": len(calls)})
    log.info("%d steps are done in %.1f s", len(calls), effort.seconds)
