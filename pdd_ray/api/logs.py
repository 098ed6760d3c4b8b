"""Logs of steps, at once or as they grow."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdd_ray.api.stores import StoreLike, existing_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdd_ray.core.store import Store
    from pdd_ray.results.saved_sweeps import SavedStep

POLL_SECONDS = 0.5
"""Time between two looks at a log that is followed."""


@dataclass(frozen=True)
class StepLog:
    """The log of a step.

    Attributes:
        step: The step.
        store: The store.
    """

    step: SavedStep
    store: Store

    @property
    def exists(self) -> bool:
        """Whether there is a log: the step was started."""
        return self.store.log_path(self.step.key).exists()

    def text(self) -> str:
        """Return what there is of it now; empty if the step has not been started."""
        return _decoded(self._from(0))

    def follow(self, poll_seconds: float = POLL_SECONDS) -> Iterator[str]:
        """Yield what there is of it, and what is added until the step ends."""
        position = 0
        ended = False
        while not ended:
            ended = self._has_ended()  # before reading: what is written last is still read
            added = self._from(position)
            position += len(added)
            yield _decoded(added)
            if not ended:
                time.sleep(poll_seconds)

    def _from(self, position: int) -> bytes:
        path = self.store.log_path(self.step.key)
        if not path.exists():
            return b""
        with path.open("rb") as file:
            file.seek(position)
            return file.read()

    def _has_ended(self) -> bool:
        from pdd_ray.results.saved_sweeps import is_running

        key = self.step.key
        failed = self.store.failure(key) is not None and not is_running(key, self.store)
        return failed or self.store.exists(key)


def logs(step: str, *, store: StoreLike = None) -> str:
    """Return the log of a step, as ``pdd-ray logs`` does; empty if it has not been started.

    Args:
        step: Its label or key, or the beginning of either.
        store: The store.

    Raises:
        ConfigError: if no step, or more than one, is called so.
        StoreError: if there is no store.
    """
    return find_log(step, store=store).text()


def find_log(step: str, *, store: StoreLike = None) -> StepLog:
    """Return the log of a step; for the arguments and errors see :func:`logs`."""
    from pdd_ray.results.saved_sweeps import find_step

    opened = existing_store(store)
    return StepLog(find_step(step, opened), opened)


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")
