"""RunOptions, RunOutcome, and the protocols of who watches a run and who executes its tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pdd_ray.core.steps import Step
    from pdd_ray.runtime.batches import Batch
    from pdd_ray.runtime.worker import StepOutcome


@dataclass(frozen=True)
class RunOptions:
    """How steps are executed; nothing here changes a result.

    Attributes:
        address: Ray cluster to use (``auto``, ``HOST:PORT``, ``ray://...`` is not supported);
            None starts Ray on this machine for the time of the run.
        fail_fast: End at the first failure; otherwise all that does not need it is done.
        max_concurrent_stages: Most Tune trials at the same time.
        cpus: CPUs of a local Ray; None takes those of the machine.
        gpus: GPUs of a local Ray; None takes those of the machine.
        elastic: The cluster grows on demand (an autoscaler): ask for more than it has now.
        max_attempts: Times that a step may lose its worker without having made progress.
    """

    address: str | None = None
    fail_fast: bool = False
    max_concurrent_stages: int = 64
    cpus: int | None = None
    gpus: int | None = None
    elastic: bool = False
    max_attempts: int = 3


@dataclass(frozen=True)
class RunOutcome:
    """What became of every step of a run.

    Attributes:
        done: Keys made by this run.
        cached: Keys that were there before.
        failed: One-line message by key.
        blocked: For steps that were not tried, the key of the failed step that they need.
        left: Keys that were not finished because the run was stopped.
        interrupted: Whether the user stopped it.
        seconds: How long it took.
    """

    done: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    blocked: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every step is done."""
        return not (self.failed or self.blocked or self.left)


class Tasks(Protocol):
    """Executes steps somewhere else, each once, whatever becomes of it."""

    def launch(self, batch: Batch) -> None:
        """Have the steps of ``batch`` executed by one worker; returns at once."""

    def finished(self) -> Iterator[tuple[str, StepOutcome | str]]:
        """Yield each key that ended, once, with the outcome or how its worker died.

        Those of a batch come in its order. Where a worker ended, those that it had not begun come
        first, as ``left``.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Return when a task has ended, at the latest after ``seconds``."""

    def kill(self) -> None:
        """End all tasks at once; what they saved of their progress stays."""


class Display(Protocol):
    """Is told what happens; all calls come from one thread of the driver."""

    def begin(self, steps: Sequence[Step], cached: Collection[str]) -> None:
        """A run of ``steps`` begins, of which ``cached`` keys exist."""

    def started(self, step: Step) -> None:
        """A worker begins ``step``."""

    def progress(self, step: Step, progress: Mapping[str, float]) -> None:
        """``step`` reported; see :data:`pdd_ray.core.steps.OnProgress`."""

    def finished(self, step: Step, seconds: float) -> None:
        """``step`` is done, ``seconds`` after it was begun."""

    def failed(self, step: Step, message: str, blocked: Sequence[Step]) -> None:
        """``step`` failed, and ``blocked`` will not be tried."""

    def retried(self, step: Step, reason: str) -> None:
        """``step`` is not running any more and will be launched again."""

    def end(self) -> None:
        """The run is over, whichever way; called exactly once after ``begin``."""


class NoDisplay:
    """A display that shows nothing."""

    def begin(self, steps: Sequence[Step], cached: Collection[str]) -> None:
        """Show nothing."""

    def started(self, step: Step) -> None:
        """Show nothing."""

    def progress(self, step: Step, progress: Mapping[str, float]) -> None:
        """Show nothing."""

    def finished(self, step: Step, seconds: float) -> None:
        """Show nothing."""

    def failed(self, step: Step, message: str, blocked: Sequence[Step]) -> None:
        """Show nothing."""

    def retried(self, step: Step, reason: str) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""
