"""Devices that plans are estimated for, and how long work takes on them.

A GPU works on an operator while the CPU starts the next ones: a step takes as long as the slower of
both. On a CPU every kind of operator has a rate of its own, which was measured; see docs/costs.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pdd_ray.core.errors import ConfigError
from pdd_ray.planning.cpu_rates import CPU_SECONDS

if TYPE_CHECKING:
    from pdd_ray.core.work import Work

Precision = Literal["float32", "tf32"]

LAUNCHES: Final = 1e5
"""Operators that one CPU core starts on a GPU in a second: about 10 microseconds each, of which
Python and autograd take what they take on a CPU (docs/costs.md), and the launch itself some 4."""
ARITHMETIC_SHARE: Final = 0.5
"""Share of the peak arithmetic that convolutions of these networks are assumed to reach."""
BANDWIDTH_SHARE: Final = 0.75
"""Share of the peak bandwidth that operators are assumed to reach."""
THREADED: Final = ("flops", "products", "normalisation", "pooling", "other")
"""What several threads share among them; operators are started by one."""


@dataclass(frozen=True)
class Device:
    """What a device can do at best.

    Attributes:
        name: How plans call it.
        float32: Floating-point operations per second in float32.
        tf32: Those of products in TF32, where it has them.
        bandwidth: Bytes per second of its memory.
        memory: Bytes of its memory.
        source: Where these numbers are from.
    """

    name: str
    float32: float
    bandwidth: float
    memory: float
    source: str
    tf32: float | None = None

    def seconds(self, work: Work, precision: Precision = "float32") -> float:
        """Return how long the device itself is busy with ``work``."""
        arithmetic = self.tf32 if precision == "tf32" and self.tf32 else self.float32
        bandwidth = BANDWIDTH_SHARE * self.bandwidth
        products = max(work.flops / (ARITHMETIC_SHARE * arithmetic), work.products / bandwidth)
        return products + (work.bytes - work.products) / bandwidth


GPUS: Final = (
    Device(
        "H100 SXM",
        float32=67e12,
        tf32=494e12,
        bandwidth=3.35e12,
        memory=80e9,
        source="NVIDIA H100 Tensor Core GPU, data sheet (SXM; TF32 without sparsity)",
    ),
    Device(
        "A100 80GB",
        float32=19.5e12,
        tf32=156e12,
        bandwidth=2.039e12,
        memory=80e9,
        source="NVIDIA A100 Tensor Core GPU, data sheet (SXM)",
    ),
    Device(
        "RTX 4090",
        float32=82.6e12,
        tf32=82.6e12,
        bandwidth=1.008e12,
        memory=24e9,
        source="NVIDIA Ada GPU Architecture, white paper, appendix",
    ),
    Device(
        "RTX 3090",
        float32=35.6e12,
        tf32=35.6e12,
        bandwidth=0.936e12,
        memory=24e9,
        source="NVIDIA Ampere GA102 GPU Architecture, white paper, appendix",
    ),
    Device(
        "T4",
        float32=8.1e12,
        bandwidth=0.32e12,
        memory=16e9,
        source="NVIDIA T4 Tensor Core GPU, data sheet",
    ),
)
"""GPUs by name; all numbers are those that their maker prints, none was measured here."""
CPU: Final = "CPU"
"""Name of a CPU core, the device of steps that hold no GPU."""
DEFAULT_GPU: Final = "A100 80GB"
"""Of steps that hold a GPU, if none is named."""


def gpu_named(name: str) -> Device | None:
    """Return the GPU of this name, or None for ``cpu``; letters and digits of a name are enough.

    Raises:
        ConfigError: if there is none, or several begin so.
    """
    wanted = _plain(name)
    if wanted == "cpu":
        return None
    found = [device for device in GPUS if wanted and wanted in _plain(device.name)]
    if len(found) != 1:
        known = ", ".join(["cpu", *(device.name for device in GPUS)])
        msg = f"unknown device {name!r}; known are {known}"
        raise ConfigError(msg)
    return found[0]


def cpu_seconds(work: Work, threads: int = 1) -> float:
    """Return how long ``work`` takes on a core of the CPU that was measured, alone on it.

    Several threads are assumed to share arithmetic and bytes evenly.
    """
    total = work.operators * CPU_SECONDS["operators"]
    shared = sum(float(getattr(work, name)) * CPU_SECONDS[name] for name in THREADED)
    return total + shared / threads


def launch_seconds(work: Work) -> float:
    """Return how long a CPU takes to start the operators of ``work`` on a GPU."""
    return work.operators / LAUNCHES


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
