"""What happens in a worker process, be it a task or a trial: steps are executed."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from pdd_ray.core.errors import DamagedArtifactError
from pdd_ray.core.groups import execute_together
from pdd_ray.core.steps import execute, one_line
from pdd_ray.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pdd_ray.core.identities import Json
    from pdd_ray.core.steps import OnProgress, StepCall

REPORT_SECONDS = 1.0
"""Shortest time between two reports that leave the worker."""


@dataclass(frozen=True)
class StepOutcome:
    """How the execution of a step ended, if its worker lived to tell.

    Attributes:
        status: ``done``, ``failed``, ``damaged`` if an input is not what was committed, or ``left``
            if the worker ended before it had begun the step.
        message: One line about the failure.
        damaged: Key of the damaged input.
        seconds: How long the worker was at it.
    """

    status: Literal["done", "failed", "damaged", "left"]
    message: str = ""
    damaged: str = ""
    seconds: float = field(default=0.0, compare=False)

    def to_json(self) -> dict[str, Json]:
        """Return the fields as plain values."""
        return asdict(self)


def execute_and_tell(
    call: StepCall,
    root: str,
    on_progress: OnProgress,
    clock: Callable[[], float] = time.monotonic,
) -> StepOutcome:
    """Execute ``call`` on the store in ``root``; call ``on_progress`` at most once a second."""
    store = Store(root)
    progress = _Progress(store.progress_path(call.key), on_progress, clock)
    started = time.perf_counter()
    try:
        execute(call, store, progress)
    except DamagedArtifactError as error:
        return StepOutcome("damaged", str(error), error.key)
    except Exception as error:  # noqa: BLE001 - every error of a step becomes its outcome
        return StepOutcome("failed", one_line(error))
    finally:
        progress.path.unlink(missing_ok=True)
    return StepOutcome("done", seconds=time.perf_counter() - started)


def execute_group_and_tell(
    calls: Sequence[StepCall], root: str, on_progress: OnProgress
) -> Iterator[StepOutcome]:
    """Execute ``calls``, at once if they are several and that can be done; yield each's outcome."""
    store = Store(root)
    missing = [call for call in calls if not store.exists(call.key)]
    shares: dict[str, float] = {}
    if len(missing) > 1:
        reports = [
            _Progress(store.progress_path(call.key), on_progress, time.monotonic)
            for call in missing
        ]
        started = time.perf_counter()
        if execute_together(missing, store, reports):
            share = (time.perf_counter() - started) / len(missing)
            shares = {call.key: share for call in missing}
        for report in reports:
            report.path.unlink(missing_ok=True)
    for call in calls:
        alone = execute_and_tell(call, root, on_progress)
        yield replace(alone, seconds=alone.seconds + shares.get(call.key, 0.0))


def read_progress(store: Store, key: str) -> Mapping[str, float]:
    """Return the last report of the running step ``key``; empty if there is none."""
    try:
        found = json.loads(store.progress_path(key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): float(value) for name, value in found.items()}


class _Progress:
    """Passes on what a step reports, at most once a second."""

    def __init__(self, path: Path, on_progress: OnProgress, clock: Callable[[], float]) -> None:
        self.path = path
        self._on_progress = on_progress
        self._clock = clock
        self._last = float("-inf")

    def __call__(self, progress: Mapping[str, float]) -> None:
        now = self._clock()
        if now - self._last < REPORT_SECONDS:
            return
        self._last = now
        values = {name: float(value) for name, value in progress.items()}
        with contextlib.suppress(OSError):  # a report that is lost harms nothing
            self._write(json.dumps(values))
        self._on_progress(values)

    def _write(self, text: str) -> None:
        temporary = self.path.with_suffix(".tmp")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.path)
