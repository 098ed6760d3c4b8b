"""What a manifest says of how an artifact was made; nothing of it is part of a key."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdd_ray.core.version import VERSION, code_commit

if TYPE_CHECKING:
    from pdd_ray.core.identities import Json
    from pdd_ray.core.processes import ProcessSettings
    from pdd_ray.core.steps import StepCall

CPU_INFORMATION = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Effort:
    """What a step took: seconds on the clock and of CPUs, with batches in so many parts."""

    seconds: float
    cpu_seconds: float
    parts: int = 1


class Stopwatch:
    """Measures the effort of this process, and of its children that have ended, from its start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._cpu_before = _cpu_seconds()

    def effort(self, parts: int = 1) -> Effort:
        """Return what was taken so far, with batches in so many parts."""
        return Effort(time.perf_counter() - self._started, _cpu_seconds() - self._cpu_before, parts)


def provenance(call: StepCall, settings: ProcessSettings, effort: Effort) -> dict[str, Json]:
    """Return how the artifact of ``call`` was made.

    Args:
        call: The step.
        settings: What its process computed with.
        effort: What it took.
    """
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
        "device": device_facts(settings.device),
        "numerics": settings.numerics.to_json(),
        "parts": effort.parts,
        "operations": call.operations,
        "seconds": round(effort.seconds, 3),
        "cpu_seconds": round(effort.cpu_seconds, 3),
        "host": platform.node(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": getattr(torch, "__version__", None) and str(torch.__version__),  # type: ignore[union-attr]
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def device_facts(device: str) -> dict[str, Json]:
    """Return what of a device, and of the libraries for it, can change bytes and times.

    ``type`` and ``name`` are there for every device, ``name`` being None if it is not known; the
    ``capability`` of a CPU is the instruction set that torch uses.
    """
    torch: Any = sys.modules.get("torch")
    if device == "cuda" and torch is not None:
        found = torch.cuda.get_device_properties(torch.cuda.current_device())
        return {
            "type": device,
            "name": found.name,
            "memory": found.total_memory,
            "capability": f"{found.major}.{found.minor}",
            "cuda": torch.version.cuda,
            "rocm": torch.version.hip,
            "cudnn": torch.backends.cudnn.version(),
        }
    if device != "cpu":
        return {"type": device, "name": None}
    capability = None if torch is None else torch.backends.cpu.get_cpu_capability()
    return {"type": device, "name": cpu_name(), "capability": capability}


@cache
def cpu_name() -> str | None:
    """Return the name of this machine's CPU, if it can be found."""
    try:
        text = CPU_INFORMATION.read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or None
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return found[1].strip() if found else None


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of those of its children that have ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system
