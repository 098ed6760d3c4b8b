"""CPU time of every inner loop: ours against the loops of the original repositories.

Run ``python benchmarks/loops.py``; about 40 minutes on one core. The plain loops, in
``peers/plain.py``, are written as the originals are (specifications of the methods). Both sides
make the same draws, and must find the same losses and make the same changes. Every kind runs in a
process of its own with one thread; they take turns, one unit of work each, so that ratios are those
of neighbours in time. Fails if a limit is not kept. Results: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from typing import TYPE_CHECKING

from peers.problems import (
    COMPILED,
    EAGER,
    EAGER_GIVEN_BACK,
    PLAIN,
    PLAIN_REUSED,
    UNITS,
    Run,
)
from peers.turns import Found, in_turns

if TYPE_CHECKING:
    import numpy as np

LIMITS = {"mtt": 1.5, "dc": 2.0, "dm": 2.5, "idc": 1.6, "expert": 2.0, "evaluation": 1.8}
"""Times as fast as the plain loop, the faster of ours: `compile: auto` picks it in long runs."""
TOLERANCES = {EAGER: (1e-5, 0.02), COMPILED: (1e-3, 0.05)}
"""Relative, of the first unit's loss, and in norm of what all units changed: float32 rounding. It
decides on which side of a ReLU's kink a few values lie, and grows from update to update; compiled
code rounds in other places."""
WIDTHS = (128, 32)


def compare(unit: str, width: int, repetitions: int, *, memory: bool) -> bool:
    """Print how ours compares with the plain loop; return whether the limit is kept."""
    kinds = [PLAIN, *([PLAIN_REUSED, EAGER_GIVEN_BACK] if memory else []), EAGER, COMPILED]
    times, found = in_turns([Run(unit, kind, width, repetitions + 1) for kind in kinds])
    print(f"\n{unit}, width {width}: {UNITS[unit]}, CPU s")
    print(f"{'':>30} {'median':>8}   times as fast: median (least to most)       MB")
    fastest = 0.0
    for kind, seconds, one in zip(kinds, times, found, strict=True):
        ratios = [plain / own for plain, own in zip(times[0], seconds, strict=True)]
        ratio = statistics.median(ratios)
        print(f"{kind:>30} {statistics.median(seconds):8.3f}   {ratio:5.2f} "
              f"({min(ratios):.2f} to {max(ratios):.2f}) {one.peak:25.0f}", flush=True)  # fmt: skip
        _assert_same(kind, one, found[0])
        if kind in (EAGER, COMPILED):
            fastest = max(fastest, ratio)
    print(f"wanted of ours: at least {LIMITS[unit]} times as fast as the {PLAIN}")
    return fastest >= LIMITS[unit]


def _assert_same(kind: str, one: Found, plain: Found) -> None:
    """Check that ``one``, of ``kind``, computed what the plain loop did."""
    of_losses, of_moves = TOLERANCES[COMPILED if kind == COMPILED else EAGER]
    difference = abs(one.losses[0] / plain.losses[0] - 1)
    assert difference <= of_losses, f"{kind}: first losses differ by {difference:.2g}"
    difference = _norm(one.move - plain.move) / _norm(plain.move)
    assert difference <= of_moves, f"{kind}: changes differ by {difference:.2g}"


def _norm(values: np.ndarray) -> float:
    return math.sqrt(float((values.astype("float64") ** 2).sum()))


def main() -> int:
    """Print the tables; return 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description="CPU time of the inner loops.")
    parser.add_argument(
        "--width", type=int, choices=WIDTHS, help="of the network; all if not given"
    )
    parser.add_argument("--repetitions", type=int, default=9, help="timed units of every kind")
    parser.add_argument("--unit", choices=tuple(LIMITS), help="one of them")
    parser.add_argument(
        "--memory", action="store_true", help="show too what reusing freed memory has a share in"
    )
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    units = [arguments.unit] if arguments.unit else list(LIMITS)
    widths = [arguments.width] if arguments.width else list(WIDTHS)
    print(f"depth 3, 3x32x32, 10 classes, one thread, float32; {arguments.repetitions} units of "
          "every kind in turn")  # fmt: skip
    kept = [
        compare(unit, width, arguments.repetitions, memory=arguments.memory)
        for width in widths
        for unit in units
    ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
