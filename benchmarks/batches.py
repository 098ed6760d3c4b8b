"""Small steps on Ray, in batches and singly: CPU time of driver and workers, and processes.

Run ``python benchmarks/batches.py`` (2 minutes). Steps do nothing, or what an evaluation of some
0.1 s does. The kinds in turn, on one Ray with two CPUs; with ``--gpu`` the steps hold a logical
GPU, so that workers end with their task. Results: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from pdd_ray.core.operations import Operation
from pdd_ray.core.steps import Cost, Resources, Step, StepContext
from pdd_ray.core.store import Store
from pdd_ray.runtime import run as runtime
from pdd_ray.runtime.cluster import start_local
from pdd_ray.runtime.interface import NoDisplay, RunOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("singly", "in batches")


def work(context: StepContext) -> None:
    """Compute for as long as the configuration says, on one CPU."""
    import torch

    end = time.thread_time() + float(context.config["seconds"])
    values = torch.ones(64, 64)
    while time.thread_time() < end:
        values = (values @ values).tanh()
    (context.output / "process").write_text(str(os.getpid()), encoding="utf-8")


def steps(count: int, seconds: float, gpus: float) -> list[Step]:
    """Return steps that are ready at once."""
    return [
        Step(
            Operation("evaluation", "batches:work"),
            config={"number": number, "seconds": seconds},
            label=f"evaluation {number}",
            resources=Resources(gpus=gpus),
            device="cpu",
            cost=Cost(operations=1e9),
        )
        for number in range(count)
    ]


def measure(kind: str, todo: list[Step]) -> tuple[float, float, int]:
    """Return CPU seconds of this process and of its workers that live, and how many there were."""
    with tempfile.TemporaryDirectory() as folder, _kind(kind):
        store = Store(folder).open()
        driver, workers = time.process_time(), _cpu_of_workers()
        report = runtime.run_on_ray(todo, store, RunOptions(), NoDisplay())
        assert report.complete, report
        used = time.process_time() - driver, _cpu_of_workers() - workers
        return *used, len({path.read_text() for path in store.root.glob("artifacts/*/*/process")})


@contextlib.contextmanager
def _kind(kind: str) -> Iterator[None]:
    """Have the scheduler batch steps, or not."""
    with mock.patch.object(
        runtime, "Speeds", (lambda: None) if kind == "singly" else runtime.Speeds
    ):
        yield


def _cpu_of_workers() -> float:
    """Return the CPU seconds of all processes below this one."""
    ticks = 0
    below = {os.getpid()}
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, rest = int(path.parent.name), path.read_text().rpartition(")")[2].split()
            stats.append((pid, int(rest[1]), sum(int(value) for value in rest[11:15])))
    for pid, parent, used in sorted(stats):
        if parent in below:
            below.add(pid)
            ticks += used
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Small steps on Ray, in batches and singly.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.0, help="of CPU time per step")
    parser.add_argument("--gpu", action="store_true", help="steps hold one logical GPU of two")
    options = parser.parse_args()
    here = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, here))
    import ray

    start_local(cpus=2, gpus=2)
    todo = steps(options.steps, options.seconds, 1.0 if options.gpu else 0.0)
    for kind in KINDS:
        measure(kind, todo[:8])
    found: dict[str, list[tuple[float, float, int]]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind in KINDS:
            found[kind].append(measure(kind, todo))
    ray.shutdown()
    print(f"{options.steps} steps of {options.seconds} s, gpu: {options.gpu}; medians (range)")
    for kind, values in found.items():
        driver, workers, processes = zip(*values, strict=True)
        named = [("driver CPU s", driver)]
        if not options.gpu:  # workers end with their tasks there, and take their times along
            named.append(("workers CPU s", workers))
        cells = [
            f"{name} {statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})" for name, v in named
        ]
        print(f"{kind:>11}: {'; '.join(cells)}; {max(processes)} processes", flush=True)


if __name__ == "__main__":
    main()
