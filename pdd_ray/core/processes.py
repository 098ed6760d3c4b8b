"""What a process that computes sets before it does, in one place: threads and determinism."""

from __future__ import annotations

import os
import sys


def prepare_process(threads: int) -> None:
    """Let torch compute on ``threads`` threads, deterministically, whatever was set before.

    Does not load torch: steps that compute nothing do without.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for a function that loads torch itself
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
