"""Seconds on a CPU core by quantity of work; written by benchmarks/costs.py --fit."""

from typing import Final

CPU_SECONDS: Final[dict[str, float]] = {
    "operators": 2.62e-05,
    "flops": 1e-11,
    "products": 5e-11,
    "normalisation": 1.08e-10,
    "pooling": 5e-11,
    "other": 5e-11,
}
