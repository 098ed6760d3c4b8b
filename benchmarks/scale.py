"""What the framework around the steps costs: CPU time and memory of whole commands on large sweeps.

Run ``python benchmarks/scale.py`` (10 minutes). It makes a store for each size in a temporary
folder: a sweep of PDD on the digits with that many steps, all of them done, whose artifacts were
committed by the store with small files in the place of trained networks. Then every command is run
as users run it, in a process of its own, and its CPU time (user and system) and the high-water mark
of its memory are read from the operating system. At last the driver of a run goes through all steps
with workers that do nothing at once, without Ray and in this process.

Required, for each of the commands of ``REQUIRED``: each further step adds at most 0.2 ms, and the
process has at most 300 MB. Whole commands per step are printed beside it: they include the start,
which is up to 1.8 s for a report (matplotlib, scipy), whatever the number of steps.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from rich.console import Console

from pdd_ray.api.preparing import PreparedRun, prepare
from pdd_ray.configuration.load import sweep_from
from pdd_ray.core import artifact_files as files
from pdd_ray.core.operations import EVALUATION, IMAGE_KINDS, kind_of
from pdd_ray.core.steps import Step, StepContext, execute
from pdd_ray.core.store import Store
from pdd_ray.runtime.capacity import FixedCapacity, Node
from pdd_ray.runtime.display import PlainDisplay
from pdd_ray.runtime.driver import Driver
from pdd_ray.runtime.interface import NoDisplay, RunOptions
from pdd_ray.runtime.interrupts import Interrupts
from pdd_ray.runtime.scheduler import Scheduler
from pdd_ray.runtime.worker import StepOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdd_ray.runtime.interface import Display

SIZES = (2500, 10_000, 20_000)
LIMIT_MS = 0.2
LIMIT_MB = 300.0
NAME = "scale"
CLASSES = 10
CURVE_POINTS = 100
STAGES = 5
COMMANDS: dict[str, tuple[str, ...]] = {
    "plan": ("plan", NAME),
    "plan --json": ("plan", NAME, "--json"),
    "status": ("status", NAME),
    "status --json": ("status", NAME, "--json"),
    "table": ("table", NAME),
    "table --compare growth": ("table", NAME, "--compare", "growth"),
    "table --format json": ("table", NAME, "--format", "json"),
    "plot": ("plot", NAME),
    "report": ("report", NAME),
    "run": ("run", NAME),
    "logs": ("logs", "base/iterations=10/seed0/stage1"),
    "tb": ("tb", NAME, "--print"),
}
"""Commands by name, every one of them on a finished sweep."""
COMMAND = """
import sys
from pathlib import Path
from pdd_ray.cli.main import main
try:
    main(sys.argv[2:])
finally:
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    Path(sys.argv[1]).write_text(peak)
"""
"""A command, after which the high-water mark of its memory is in a file: what the system tells of
an ended process is not less than what its parent had."""
REQUIRED = ("plan", "status", "table", "report", "run")


def sweep(points: int, seeds: int) -> dict[str, Any]:
    """Return the content of a sweep file with ``points`` settings and ``seeds`` of each."""
    return {
        "name": NAME,
        "seeds": list(range(seeds)),
        "data": {"source": "digits"},
        "model": {"name": "convnet", "width": 16, "depth": 2},
        "experts": {"count": 4, "epochs": 14, "batch_size": 32, "augmentation": "none"},
        "transition": {"epochs": 30, "augmentation": "none"},
        "method": {
            "name": "mtt",
            "inner_steps": 15,
            "expert_epochs": 3,
            "max_start_epoch": 4,
            "batch_size": 20,
            "augmentation": "none",
            "selection": {"every": 20, "networks": 2, "epochs": 30, "augmentation": "none"},
        },
        "stages": {"count": STAGES, "images_per_class": 1},
        "evaluation": {
            "networks": 5,
            "single_stage_epochs": 60,
            "augmentation": "none",
            "prefixes": "all",
        },
        "grid": {"method.iterations": list(range(10, 10 + points))},
    }


def planned(points: int, seeds: int, store: Store) -> PreparedRun:
    """Return the sweep with its steps."""
    return prepare(sweep_from(sweep(points, seeds)), store)


def points_for(steps: int, seeds: int, store: Store) -> int:
    """Return how many settings make a sweep of at least ``steps`` steps."""
    one, two = (len(planned(points, seeds, store).steps) for points in (1, 2))
    return 1 + -(-(steps - one) // (two - one))


# --- artifacts ----------------------------------------------------------------------------------


def stand_in(context: StepContext) -> None:
    """Write the files that commands read, with made-up numbers, and small ones for the others."""
    kind = kind_of(context.key)
    number = int(context.key[-6:], 16) / 16**6
    if kind == EVALUATION.kind:
        _write(context.output / files.RESULT, _result(number))
        (context.output / files.TRAINED_NETWORK).write_bytes(_tensors({}))
    elif kind in IMAGE_KINDS:
        _write(context.output / files.CURVES, _curves(number))
        outcome = {"loss": number, "iteration": 10, "stage": context.config["stage"]}
        _write(context.output / files.OUTCOME, outcome)
        classes = [str(label) for label in range(CLASSES)]
        header = {"__metadata__": {"pdd": json.dumps({"classes": classes})}}
        (context.output / files.SYNTHETIC_SET).write_bytes(_tensors(header))
        (context.output / files.PICTURE).write_bytes(_picture())
    else:
        (context.output / "tensors.safetensors").write_bytes(_tensors({}))


def _result(number: float) -> dict[str, float]:
    return {
        "test_accuracy": 0.5 + number / 10,
        "validation_accuracy": 0.5 + number / 11,
        "step_size": 0.01,
        "test_images": 360,
    }


def _curves(number: float) -> dict[str, list[float]]:
    loss = [1 / (1 + index) + number for index in range(CURVE_POINTS)]
    return {"loss": loss, "step_size": [0.01 * value for value in loss]}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _tensors(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def _picture() -> bytes:
    """Return a grey PNG with a row of 8 x 8 pixels per class."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", 8, 8 * CLASSES, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(0, 256, 32)) for _ in range(8 * CLASSES))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def make(step: Step, store: Store) -> None:
    """Commit the artifact of ``step`` as a worker does; where the code is, no key holds."""
    operation = replace(step.operation, function="scale:stand_in")
    execute(replace(step.call, operation=operation), store)


def make_store(folder: Path, steps: int, seeds: int) -> int:
    """Make a store with a finished sweep of at least ``steps`` steps; return how many it has."""
    store = Store(folder).open()
    prepared = planned(points_for(steps, seeds, store), seeds, store)
    content = json.dumps(sweep(prepared.experiments // seeds, seeds))
    (folder / "scale.json").write_text(content, encoding="utf-8")
    with patch("os.fsync"):  # a crash may have these stores
        for step in prepared.missing:
            make(step, store)
    measure(("run", str(folder / "scale.json")), folder)  # leaves plots and pictures
    return len(prepared.steps)


# --- measuring ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """CPU time [s] and high-water mark of memory [MB] of a command."""

    seconds: float
    megabytes: float


def measure(arguments: tuple[str, ...], store: Path) -> Use:
    """Run a command in a process of its own and return what it took."""
    with tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile() as peak:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, peak.name, *arguments, "--store", str(store)],
            stdout=output,
            stderr=output,
        )
        _, status, use = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(arguments)} failed:\n{output.read().decode()}")
        kilobytes = int(peak.read().split()[1])
    return Use(use.ru_utime + use.ru_stime, kilobytes / 1024)


def measure_all(
    stores: dict[int, Path], commands: list[str], repetitions: int
) -> dict[str, dict[int, Use]]:
    """Return the medians of every command by size; sizes and commands come in turn."""
    found: dict[tuple[str, int], list[Use]] = {}
    for _ in range(repetitions):
        for size, folder in stores.items():
            for name in commands:
                found.setdefault((name, size), []).append(measure(COMMANDS[name], folder))
    return {
        name: {
            size: Use(
                median(use.seconds for use in found[name, size]),
                max(use.megabytes for use in found[name, size]),
            )
            for size in stores
        }
        for name in commands
    }


class IdleTasks:
    """Workers that are done at once, and have done nothing."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def launch(self, step: Step) -> None:
        """Note that ``step`` is done."""
        self.ended.append(step.key)

    def finished(self) -> Iterator[tuple[str, StepOutcome | str]]:
        """Yield what was launched."""
        ended, self.ended = self.ended, []
        yield from ((key, StepOutcome("done")) for key in ended)

    def wait(self, seconds: float) -> None:
        """Return at once."""

    def kill(self) -> None:
        """Do nothing: nothing runs."""


def drive(steps: Sequence[Step], display: Display) -> float:
    """Return the CPU time [s] of a driver that goes through ``steps``, 16 at a time."""
    with tempfile.TemporaryDirectory() as folder, Interrupts() as interrupts:
        store = Store(folder).open()
        tasks = IdleTasks()
        started = time.process_time()
        driver = Driver(
            Scheduler(steps, store.exists, max_trials=64),
            store,
            tasks=tasks,
            capacity=lambda: FixedCapacity((Node(cpus=16),)),
            options=RunOptions(),
            display=display,
            interrupts=interrupts,
        )
        display.begin(steps, frozenset())
        while driver.scheduler.active:
            for trial in driver.poll():
                tasks.launch(trial)
        display.end()
        return time.process_time() - started


def drive_all(sizes: list[int], seeds: int) -> bool:
    """Print what the driver takes by size; return whether it keeps the limit."""
    print("| driver of a run, ms per step | no display | plain lines |\n|---|---:|---:|")
    most = 0.0
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder).open()
            steps = planned(points_for(size, seeds, store), seeds, store).steps
        plain = PlainDisplay(Console(file=io.StringIO()))
        times = [1000 * drive(steps, display) / len(steps) for display in (NoDisplay(), plain)]
        print(f"| {len(steps):,} steps | {' | '.join(f'{one:.3f}' for one in times)} |")
        most = max(most, times[0])
    return most <= LIMIT_MS


def line(name: str, uses: dict[int, Use]) -> tuple[str, bool]:
    """Return a row of the table, and whether the command keeps the limits."""
    sizes = sorted(uses)
    per_step = {size: 1000 * uses[size].seconds / size for size in sizes}
    slopes = [
        1000 * (uses[high].seconds - uses[low].seconds) / (high - low)
        for low, high in pairwise(sizes)
    ]
    most = max(use.megabytes for use in uses.values())
    good = max(slopes, default=0.0) <= LIMIT_MS and most <= LIMIT_MB
    cells = [
        *(f"{uses[size].seconds:.2f}" for size in sizes),
        *(f"{per_step[size]:.3f}" for size in sizes if size >= 10_000),
        *(f"{slope:.3f}" for slope in slopes),
        f"{most:.0f}",
    ]
    return f"| `{name}` | {' | '.join(cells)} |", good


def header(sizes: list[int]) -> str:
    """Return the head of the table."""
    titles = [
        "command",
        *(f"{size:,} steps, s" for size in sizes),
        *(f"ms per step at {size:,}" for size in sizes if size >= 10_000),
        *(f"ms per further step, {low:,} to {high:,}" for low, high in pairwise(sizes)),
        "MB",
    ]
    return f"| {' | '.join(titles)} |\n|---|{'---:|' * (len(titles) - 1)}"


def main() -> None:
    """Print a table; fail if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each setting")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where stores are kept, and found again")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        base = (options.folder or Path(temporary)).absolute()
        stores: dict[int, Path] = {}
        for size in options.sizes:
            folder = base / f"{size}-steps-{options.seeds}-seeds"
            stores[make_store(folder, size, options.seeds)] = folder
        empty = Store(base / "empty").open()
        start = median(measure(("status",), empty.root).seconds for _ in range(3))
        results = measure_all(stores, options.commands, options.repetitions)
    print(f"start of a command that has nothing to do: {start:.2f} s, part of all times")
    print(header(sorted(stores)))
    kept = True
    for name, uses in results.items():
        text, good = line(name, uses)
        print(text)
        kept = kept and (good or name not in REQUIRED)
    print()
    kept = drive_all(options.sizes, options.seeds) and kept
    if not kept:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
