"""Steps to run, and a display that remembers what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdd_ray.core.operations import Operation
from pdd_ray.core.steps import Cost, Resources, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from pdd_ray.core.store import Store

KINDS = ("task", "trial")
"""What a step can run as."""


def make_step(
    label: str,
    inputs: Sequence[Step] = (),
    *,
    function: str = "empty",
    runs_as: Any = "task",  # noqa: ANN401 - one of two words
    resources: Resources = Resources(),  # noqa: B008 - frozen
    operations: float = 0.0,
    **config: Any,  # noqa: ANN401 - JSON
) -> Step:
    """Return a step; trials are of the kind ``stage``, tasks are of the kind ``expert``."""
    operation = Operation(
        name="stage" if runs_as == "trial" else "expert",
        function=f"tests.runtime.step_functions:{function}",
        runs_as=runs_as,
    )
    return Step(
        operation,
        config={"label": label, **config},
        inputs={step.label: step for step in inputs},
        label=label,
        resources=resources,
        device="cpu",  # the GPUs of these tests are logical ones
        cost=Cost(operations=operations),
    )


def diamonds(cpus: float = 1.0) -> list[Step]:
    """Return two experiments that share a prefix: data, experts, stage 1; then stage 2.

    Stage 2b is a task, because starting another process for a trial takes seconds.
    """

    def make(label: str, seed: int, *inputs: Step, runs_as: str = "task") -> Step:
        resources = Resources(cpus=cpus)
        return make_step(
            label, inputs, function="draws", runs_as=runs_as, resources=resources, seed=seed
        )

    data = make("data", 0)
    experts = make("expert 1", 2, data), make("expert 2", 3, data)
    first = make("stage 1", 1, *experts, runs_as="trial")
    second_a = make("stage 2a", 6, first, make("expert a", 4, first), runs_as="trial")
    second_b = make("stage 2b", 6, first, make("expert b", 5, first))
    return [make("evaluation a", 7, second_a), make("evaluation b", 7, second_b)]


def contents(store: Store) -> dict[str, Any]:
    """Return the digests of the files of all artifacts."""
    return {
        manifest["key"]: {name: entry["digest"] for name, entry in manifest["files"].items()}
        for kind in ("expert", "stage")
        for manifest in store.manifests(kind)
    }


class Recorder:
    """A display that keeps a list of (event, label)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.reports: list[Mapping[str, float]] = []

    def begin(self, steps: Sequence[Step], cached: Collection[str]) -> None:
        self.events.append(("begin", f"{len(steps)} {len(cached)}"))

    def started(self, step: Step) -> None:
        self.events.append(("started", step.label))

    def progress(self, step: Step, progress: Mapping[str, float]) -> None:
        self.events.append(("progress", step.label))
        self.reports.append(progress)

    def finished(self, step: Step, seconds: float) -> None:
        self.events.append(("finished", step.label))

    def failed(self, step: Step, message: str, blocked: Sequence[Step]) -> None:
        self.events.append(("failed", step.label))

    def retried(self, step: Step, reason: str) -> None:
        self.events.append(("retried", step.label))

    def end(self) -> None:
        self.events.append(("end", ""))

    def of(self, event: str) -> list[str]:
        """Return the labels of one event, in order."""
        return [label for name, label in self.events if name == event]


class Reacting(Recorder):
    """A recorder that also does something at the first report of a step."""

    def __init__(self, react: Callable[[], None]) -> None:
        super().__init__()
        self._react = react

    def progress(self, step: Step, progress: Mapping[str, float]) -> None:
        if not self.of("progress"):
            self._react()
        super().progress(step, progress)


def counted(folder: Path, label: str) -> list[int]:
    """Return the numbers that :func:`step_functions.counting` counted, with repetitions."""
    names = [path.name.partition(".")[0] for path in folder.iterdir()]
    return sorted(
        int(name.removeprefix(f"{label}-")) for name in names if name.startswith(f"{label}-")
    )
