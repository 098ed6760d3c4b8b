"""CPU time of an update of a late stage against one of the first, with DC, DM and IDC.

Run ``python benchmarks/late_stages.py``; ten minutes on one core. Fails if a limit is not kept.
Results: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from dataclasses import replace

from peers.problems import EAGER, PER_STAGE, Run
from peers.turns import in_turns

LAST_STAGE = 5
LIMITS = {"dc": 1.1, "dm": 1.1, "idc": 1.5}
"""For a first-order pass of the earlier sets: 8 images beside 256 real ones, with IDC 32 beside 64.
"""


def compare(method: str, width: int, repetitions: int) -> bool:
    """Print what an update of the last stage costs against one of the first."""
    first = Run(method, EAGER, width, repetitions + 1, images_per_class=PER_STAGE)
    runs = [first, replace(first, stage=LAST_STAGE)]
    times, found = in_turns(runs)
    ratios = [late / early for early, late in zip(*times, strict=True)]
    medians = [statistics.median(seconds) for seconds in times]
    print(f"{method:>7} {medians[0]:9.3f} {medians[1]:9.3f}   {statistics.median(ratios):5.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f}) {found[0].peak:9.0f} {found[1].peak:9.0f}",
          flush=True)  # fmt: skip
    return statistics.median(ratios) <= LIMITS[method]


def main() -> int:
    """Print the table; return 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description="CPU time of late stages.")
    parser.add_argument("--width", type=int, default=128, help="of the network")
    parser.add_argument("--repetitions", type=int, default=9, help="timed updates of every kind")
    parser.add_argument("--method", choices=tuple(LIMITS), help="one of the three")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    methods = [arguments.method] if arguments.method else list(LIMITS)
    print(f"an update of stage {LAST_STAGE} against one of stage 1, {PER_STAGE} images per class "
          f"and stage, ours, eager, width {arguments.width}, CPU s")  # fmt: skip
    print(f"{'':>7} {'stage 1':>9} {f'stage {LAST_STAGE}':>9}   times as long        "
          f"{'MB':>9} {'MB':>9}")  # fmt: skip
    kept = [compare(method, arguments.width, arguments.repetitions) for method in methods]
    limits = ", ".join(f"{method} {LIMITS[method]}" for method in methods)
    print(f"required: at most {limits} times as long")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
