"""Memory and time of one iteration of trajectory matching: exact against unrolled gradients.

Run ``python benchmarks/matching.py`` on a machine that does nothing else; about ten minutes on
one core. Every measurement of memory has a process of its own; times are medians of pairs measured
in turn. Fails if the exact gradient needs more than 1.25 times the memory at 60 inner steps that it
needs at 10, or more than 1.35 times the time of unrolling. Results: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# torch is imported in the measuring processes only: a process inherits the high-water mark of the
# one that starts it.

LENGTHS = (10, 30, 60)
SIDES = (16, 32)
CLASSES = 10
IMAGES = 100
WIDTH = 32
TIMED_STEPS = 10
MEMORY_REPEATS = 3
MEMORY_LIMIT = 1.25
TIME_LIMIT = 1.35


def problem(
    side: int, inner_steps: int, *, count: int = IMAGES, compile: bool = False
) -> Callable[[str], None]:
    """Return a function that makes one iteration with the gradient of the kind given."""
    import torch

    from pdd_ray.configuration.training import FULL_DSA
    from pdd_ray.core.seeding import generator
    from pdd_ray.methods.trajectory_loss import (
        InnerFunctions,
        Segment,
        Union,
        matching_gradient,
    )
    from pdd_ray.methods.trajectory_loss import (
        inner_steps as draw_steps,
    )
    from pdd_ray.models.factory import create_model
    from pdd_ray.models.flat import FlatModel
    from pdd_ray.models.networks.convnet import ConvNetSpec

    shape = (3, side, side)
    source = generator(0, "benchmark")
    model = create_model(ConvNetSpec(width=WIDTH), shape, CLASSES, source)
    network = FlatModel(model)
    start = network.flatten(model)
    segment = Segment(start, start + 0.01 * torch.randn(len(start), generator=source))
    images = torch.randn(count, *shape, generator=source)
    union = Union(images, torch.arange(CLASSES).repeat_interleave(count // CLASSES))
    steps = draw_steps(count, count, inner_steps, FULL_DSA, (side, side), source)
    functions = InnerFunctions(network, compile=compile)

    def iteration(kind: str) -> None:
        matching_gradient(functions, union, torch.tensor(0.01), segment, steps, kind)  # type: ignore[arg-type]

    return iteration


def measure_memory(side: int, inner_steps: int, kind: str) -> dict[str, float]:
    """Return the high-water mark of this process before and after one iteration, in MB."""
    from pdd_ray.core.memory import freed_memory_is_reused

    with freed_memory_is_reused():  # as steps run
        iteration = problem(side, inner_steps)
        problem(8, 1, count=CLASSES)("exact")  # loads the code that every iteration needs
        before = _high_water()
        iteration(kind)
        return {"before": before, "after": _high_water()}


def measure_times(side: int, repeats: int) -> dict[str, list[float]]:
    """Return the seconds of iterations of TIMED_STEPS inner steps, by kind, measured in turn."""
    from pdd_ray.core.memory import freed_memory_is_reused

    eager = problem(side, TIMED_STEPS)
    compiled = problem(side, TIMED_STEPS, compile=True)
    runs = {
        "unrolled": lambda: eager("unrolled"),
        "exact": lambda: eager("exact"),
        "exact, compiled": lambda: compiled("exact"),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    with freed_memory_is_reused():  # as steps run
        for turn in range(repeats + 1):
            for name, run in runs.items():
                started = time.perf_counter()
                run()
                if turn:  # the first turn warms up and compiles
                    times[name].append(time.perf_counter() - started)
    return times


def main() -> int:
    """Print the tables; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description="Memory and time of trajectory matching.")
    parser.add_argument("--repeats", type=int, default=9, help="pairs of timed iterations")
    parser.add_argument("--only", choices=("memory", "time"), help="one of the two parts")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, *values = json.loads(arguments.measure)
        print(json.dumps({"memory": measure_memory, "time": measure_times}[name](*values)))
        return 0
    print(
        f"width {WIDTH}, {IMAGES} images of 3 channels, inner batch {IMAGES}, one thread, float32"
    )
    fine = True
    if arguments.only != "time":
        fine &= _memory_table()
    if arguments.only != "memory":
        fine &= _time_table(arguments.repeats)
    return 0 if fine else 1


def _memory_table() -> bool:
    before = _measured("memory", SIDES[0], 1, "exact")["before"]
    print(f"\nmemory of one iteration, MB above the {before:.0f} of a process that did a tiny one")
    print(
        f"{'image':>7} {'gradient':>9} " + " ".join(f"{f'T={n}':>7}" for n in LENGTHS) + "  ratio"
    )
    fine = True
    for side in SIDES:
        for kind in ("exact", "unrolled"):
            used = [_memory(side, length, kind) for length in LENGTHS]
            ratio = used[-1] / used[0]
            fine &= kind == "unrolled" or ratio <= MEMORY_LIMIT
            columns = " ".join(f"{value:7.0f}" for value in used)
            print(f"{side}x{side:<4} {kind:>9} {columns}  {ratio:5.2f}", flush=True)
    print(f"required of exact: at most {MEMORY_LIMIT} times from T={LENGTHS[0]} to {LENGTHS[-1]}")
    return fine


def _memory(side: int, length: int, kind: str) -> float:
    """Return what one iteration adds to the high-water mark, the median of fresh processes, MB."""
    found = [_measured("memory", side, length, kind) for _ in range(MEMORY_REPEATS)]
    return statistics.median(item["after"] - item["before"] for item in found)


def _time_table(repeats: int) -> bool:
    print(f"\ntime of one iteration of {TIMED_STEPS} inner steps, medians of {repeats}, s")
    fine = True
    for side in SIDES:
        times = _measured("time", side, repeats)
        medians = {name: statistics.median(values) for name, values in times.items()}
        exact = _paired(times["exact"], times["unrolled"])
        fine &= exact <= TIME_LIMIT
        text = "  ".join(f"{name} {value:.3f}" for name, value in medians.items())
        speedup = _paired(times["exact"], times["exact, compiled"])
        print(f"{side}x{side}  {text}", flush=True)
        print(f"       exact / unrolled {exact:.2f}, eager / compiled {speedup:.2f}", flush=True)
    print(f"required: exact / unrolled at most {TIME_LIMIT}")
    return fine


def _paired(ours: list[float], theirs: list[float]) -> float:
    """Return the median ratio of times measured one after the other."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def _measured(*what: Any) -> dict[str, Any]:  # noqa: ANN401 - names and numbers
    """Return what a fresh process measures."""
    command = [sys.executable, __file__, "--measure", json.dumps(what)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def _high_water() -> float:
    """Return the most memory that this process had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    sys.exit(main())
