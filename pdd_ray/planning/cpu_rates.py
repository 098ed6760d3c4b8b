"""Seconds per operator, operation and byte on a CPU core; written by benchmarks/costs.py --fit."""

CPU_SECONDS = {
    "operators": 1e-5,
    "flops": 1.2e-11,
    "products": 1e-10,
    "normalisation": 2e-10,
    "pooling": 4e-10,
    "other": 2e-10,
}
