"""Steps: pure work with an identity, and the serial runner that executes them.

A step's **key** is the digest of everything that made it: its operation with its revision, resolved
configuration, keys of its inputs and the format version. What does not change the result (label,
resources, estimates, where the code is) is not part of it.
"""

from __future__ import annotations

import logging
import platform
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from pdd_ray.core.errors import DamagedArtifactError, PddError, ResourceError
from pdd_ray.core.files import empty_folder
from pdd_ray.core.identities import Json, digest
from pdd_ray.core.memory import freed_memory_is_reused
from pdd_ray.core.out_of_memory import within_memory
from pdd_ray.core.processes import Numerics, ProcessSettings, prepare_process, prepared
from pdd_ray.core.provenance import Effort, Stopwatch, provenance
from pdd_ray.core.work import NOTHING, Work

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.core.operations import Operation
    from pdd_ray.core.store import Store

FORMAT_VERSION = 3
"""Part of every key. Raising it orphans everything that anybody has made; what changes the results
of one operation raises the revision of that operation instead (docs/stability.md)."""
SECONDS_BETWEEN_SAVES = 20.0
"""How often a step saves its progress."""

OnProgress = Callable[[Mapping[str, float]], None]
"""Receives a step's progress: ``fraction`` in [0, 1] and what is worth showing."""


@dataclass(frozen=True)
class Resources:
    """What a step holds while it runs; ``memory`` in bytes, reserved only if given.

    ``shards`` is the number of processes that share it, ``group`` how many steps that are alike
    may share it, computed at once in one process.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int | None = None
    shards: int = 1
    group: int = 1

    @property
    def threads(self) -> int:
        """Threads that torch uses in each of the processes: the same serially and on Ray."""
        return max(1, int(self.cpus / self.shards))


@dataclass(frozen=True)
class Cost:
    """Estimates for plans.

    Attributes:
        operations: Floating-point operations.
        disk: Bytes of the artifact.
        memory: Bytes of main memory, if it computes there.
        work: All that is computed.
        device_memory: Bytes of the memory of a GPU, if it computes there.
    """

    operations: float = 0.0
    disk: float = 0.0
    memory: float = 0.0
    work: Work = NOTHING
    device_memory: float = 0.0


@dataclass(frozen=True, eq=False)
class Step:
    """One piece of work that makes one artifact.

    Attributes:
        operation: What it does.
        config: Everything that determines the result, besides the inputs.
        inputs: Steps whose artifacts it reads, by the name under which it reads them.
        label: How people see it; unique within a sweep.
        resources: What it holds while it runs.
        device: ``auto``, ``cpu`` or ``cuda``.
        cost: Estimates.
    """

    operation: Operation
    config: Mapping[str, Json]
    inputs: Mapping[str, Step] = field(default_factory=dict)
    label: str = ""
    resources: Resources = Resources()
    device: str = "auto"
    cost: Cost = Cost()

    @cached_property
    def key(self) -> str:
        """The identity: ``KIND-DIGEST``."""
        made_by: dict[str, Json] = {
            "format": FORMAT_VERSION,
            "operation": self.operation.name,
            "revision": self.operation.revision,
            "config": self.config,
            "inputs": {name: step.key for name, step in self.inputs.items()},
        }
        return f"{self.kind}-{digest(made_by)}"

    @cached_property
    def likeness(self) -> str:
        """The same for steps that may be computed at once; its own key if it never is."""
        if self.resources.group == 1 or not self.operation.together:
            return self.key
        differs = self.operation.differs
        inputs: dict[str, Json] = {
            name: "" if name in differs else step.key for name, step in self.inputs.items()
        }
        config: dict[str, Json] = {k: v for k, v in self.config.items() if k not in differs}
        return digest({"operation": self.operation.name, "config": config, "inputs": inputs})

    @property
    def kind(self) -> str:
        """Kind of artifact that it makes."""
        return self.operation.kind

    @property
    def runs_as(self) -> Literal["trial", "task"]:
        """``trial`` (a Ray Tune trial) or ``task`` (a Ray task)."""
        return self.operation.runs_as

    @property
    def call(self) -> StepCall:
        """What a worker needs to execute the step."""
        return StepCall(
            key=self.key,
            operation=self.operation,
            config=dict(self.config),
            inputs={name: step.key for name, step in self.inputs.items()},
            label=self.label,
            threads=self.resources.threads,
            gpus=self.resources.gpus,
            device=self.device,
            operations=self.cost.operations,
            work=self.cost.work,
            shards=self.resources.shards,
        )


@dataclass(frozen=True)
class StepCall:
    """A step as it travels to a worker: plain values, inputs by key."""

    key: str
    operation: Operation
    config: dict[str, Json]
    inputs: dict[str, str]
    label: str
    threads: int
    gpus: float
    device: str
    operations: float
    shards: int = 1
    work: Work = NOTHING


@dataclass(frozen=True)
class StepContext:
    """What a step's function is given.

    Attributes:
        key: Identity of the step.
        label: How people see it.
        config: Its configuration.
        inputs: Folders of its inputs' artifacts, verified.
        output: Empty folder to write to; becomes the artifact when the function returns.
        partial: Folder that survives interruptions; a function that finds its progress there
            continues from it. Write to it atomically.
        facts: Folder in which is remembered what data sets hold and where they lie.
        tensorboard: Folder for the step's own event files.
        device: ``cpu`` or ``cuda``.
        shards: Processes over which it may spread its work; the result is the same.
        progress: Call it about once a second with the progress.
        seconds_between_saves: How often its progress is saved in ``partial``, at most.
    """

    key: str
    label: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Path]
    output: Path
    partial: Path
    facts: Path
    tensorboard: Path
    device: str
    progress: OnProgress
    shards: int = 1
    seconds_between_saves: float = SECONDS_BETWEEN_SAVES


def topological(steps: Iterable[Step]) -> list[Step]:
    """Return ``steps`` and all they need, each key once, inputs before what reads them."""
    ordered: dict[str, Step] = {}

    def visit(step: Step) -> None:
        for parent in step.inputs.values():
            if parent.key not in ordered:
                visit(parent)
        ordered[step.key] = step

    for step in steps:
        if step.key not in ordered:
            visit(step)
    return list(ordered.values())


def no_progress(_progress: Mapping[str, float]) -> None:
    """Ignore progress."""


def execute(call: StepCall, store: Store, on_progress: OnProgress = no_progress) -> None:
    """Make the artifact of ``call`` unless it exists; the one way in which steps are executed.

    The step's messages go to its log. On an error its traceback does too, the failure is
    recorded in the store, and the error is raised again.

    Raises:
        DamagedArtifactError: if an input changed since it was committed.
    """
    if store.exists(call.key):
        return
    output = store.begin(call.key)
    with logged_to(store.log_path(call.key)) as log:
        _execute(call, store, output, on_progress, log)


def _execute(
    call: StepCall, store: Store, output: Path, on_progress: OnProgress, log: logging.Logger
) -> None:
    try:
        log.info("%s starts: %s", call.label, call.key)
        effort = _run(call, store, output, on_progress)
        store.commit(call.key, output, provenance(call, prepared(), effort))
        log.info("%s is done in %.1f s", call.label, effort.seconds)
    except Exception as error:
        log.error("%s failed:\n%s", call.label, traceback.format_exc())
        if not isinstance(error, DamagedArtifactError):
            store.record_failure(call.key, one_line(error))
        raise
    finally:
        store.discard(output)


def run_serially(
    steps: Iterable[Step], store: Store, on_step: Callable[[Step], None] = lambda _step: None
) -> None:
    """Execute what is missing of ``steps``, one after the other, in this process.

    Gives the same bytes as the Ray runtime; the way to debug. The first error ends it.
    """
    for step in topological(steps):
        if not store.exists(step.key):
            on_step(step)
            execute(step.call, store)


def one_line(error: BaseException) -> str:
    """Return an error as one line: our own as they are, others with their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, PddError) else f"{type(error).__name__}: {text}"


def choose_device(wanted: str, gpus: float) -> str:
    """Return ``cuda`` or ``cpu`` for a step that holds ``gpus`` GPUs.

    ``auto`` means CUDA where the step holds a GPU, the CPU otherwise.

    Raises:
        ResourceError: if it is to compute on a GPU and torch sees none: computing on the CPU
            instead would take far longer than anybody asked for.
    """
    if wanted == "cpu" or (wanted == "auto" and gpus == 0):
        return "cpu"
    if wanted not in ("auto", "cuda"):
        return wanted  # a device of torch's own extensions, such as the one of the tests
    import torch

    if torch.cuda.is_available():
        return "cuda"
    built_for = torch.version.cuda or torch.version.hip
    found = f"was built for {built_for} and finds no GPU" if built_for else "was built for CPUs"
    msg = (
        f"the step holds {gpus:g} GPUs, but torch {torch.__version__} {found} on "
        f"{platform.node()}; install a torch for these GPUs there (`pdd-ray doctor` looks at a "
        "machine), or compute on the CPU: resources.device=cpu"
    )
    raise ResourceError(msg)


def memory_share(call: StepCall) -> float:
    """Return the share of a GPU's memory that each process of a step may take.

    Who holds a fraction of a GPU takes no more of its memory than that, so that the steps which
    share it with him find theirs; who holds a whole one can only disturb himself.
    """
    return call.gpus / call.shards if 0 < call.gpus < 1 else 1.0


def begin(call: StepCall, store: Store, output: Path, on_progress: OnProgress) -> StepContext:
    """Return what the function of a step is given, its inputs verified and the process prepared.

    Raises:
        DamagedArtifactError: if an input changed since it was committed.
        ResourceError: if the device can't be had.
    """
    for parent in call.inputs.values():
        store.verify(parent, quick=True)
    device = choose_device(call.device, call.gpus)
    prepare_process(
        ProcessSettings(call.threads, device, memory_share(call), Numerics.of(call.config))
    )
    return StepContext(
        key=call.key,
        label=call.label,
        config=call.config,
        inputs={name: store.folder(key) for name, key in call.inputs.items()},
        output=output,
        partial=store.partial(call.key),
        facts=store.facts,
        tensorboard=store.tensorboard_run(call.label, call.key),
        device=device,
        progress=on_progress,
        shards=call.shards,
    )


def _run(call: StepCall, store: Store, output: Path, on_progress: OnProgress) -> Effort:
    context = begin(call, store, output, on_progress)
    function: Callable[[StepContext], None] = resolve_name(call.operation.function)

    def work() -> None:
        empty_folder(output)  # of what a first attempt has written
        function(context)

    stopwatch = Stopwatch()
    with freed_memory_is_reused():
        parts = within_memory(work, call, context.device)
    return stopwatch.effort(parts)


@contextmanager
def logged_to(path: Path) -> Iterator[logging.Logger]:
    """Have the messages of this package in the file ``path`` too, while the context lasts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("pdd_ray")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield log
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()
