"""Steps: pure work with an identity, and the serial runner that executes them.

A step's **key** is the digest of everything that made it: its operation with its revision, resolved
configuration, keys of its inputs and the format version. What does not change the result (label,
resources, estimates, where the code is) is not part of it.
"""

from __future__ import annotations

import logging
import platform
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from pdd_ray.core.errors import DamagedArtifactError, PddError, ResourceError
from pdd_ray.core.identities import Json, digest
from pdd_ray.core.memory import freed_memory_is_reused
from pdd_ray.core.processes import prepare_process
from pdd_ray.core.version import VERSION, code_commit

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

    ``shards`` is the number of processes that share it.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int | None = None
    shards: int = 1

    @property
    def threads(self) -> int:
        """Threads that torch uses in each of the processes: the same serially and on Ray."""
        return max(1, int(self.cpus / self.shards))


@dataclass(frozen=True)
class Cost:
    """Estimates for plans: floating point operations, bytes on disk, bytes of memory."""

    operations: float = 0.0
    disk: float = 0.0
    memory: float = 0.0


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
    log = logging.getLogger("pdd_ray")
    handler = _log_to(store.log_path(call.key))
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        log.info("%s starts: %s", call.label, call.key)
        seconds = _run(call, store, output, on_progress)
        store.commit(call.key, output, _provenance(call, seconds))
        log.info("%s is done in %.1f s", call.label, seconds)
    except Exception as error:
        log.error("%s failed:\n%s", call.label, traceback.format_exc())
        if not isinstance(error, DamagedArtifactError):
            store.record_failure(call.key, one_line(error))
        raise
    finally:
        store.discard(output)
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()


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
        ResourceError: if it holds a GPU and torch sees none: computing on the CPU instead would
            take far longer than anybody asked for.
    """
    if wanted != "auto":
        return wanted
    if gpus == 0:
        return "cpu"
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


def _run(call: StepCall, store: Store, output: Path, on_progress: OnProgress) -> float:
    for parent in call.inputs.values():
        store.verify(parent, quick=True)
    function: Callable[[StepContext], None] = resolve_name(call.operation.function)
    device = choose_device(call.device, call.gpus)
    prepare_process(call.threads)
    context = StepContext(
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
    started = time.perf_counter()
    with freed_memory_is_reused():
        function(context)
    return time.perf_counter() - started


def _log_to(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


def _provenance(call: StepCall, seconds: float) -> dict[str, Json]:
    import sys

    torch = sys.modules.get("torch")
    return {
        "pdd_ray": VERSION,
        "commit": code_commit(),
        "operation": call.operation.name,
        "revision": call.operation.revision,
        "config": call.config,
        "inputs": dict(call.inputs),
        "label": call.label,
        "threads": call.threads,
        "gpus": call.gpus,
        "operations": call.operations,
        "seconds": round(seconds, 3),
        "host": platform.node(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": getattr(torch, "__version__", None) and str(torch.__version__),  # type: ignore[union-attr]
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
