"""What a process sets before it computes, in one place: threads, precision, determinism."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pdd_ray.core.errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdd_ray.core.identities import Json

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_WORKSPACES = (":4096:8", ":16:8")
"""Values with which cuBLAS sums in one order, for CUDA 10.2 and later; the first one is faster."""


@dataclass(frozen=True)
class Numerics:
    """How numbers are computed; what differs from the defaults is part of a step's identity.

    Attributes:
        tf32: Whether CUDA may round the factors of float32 products to 10 bits of mantissa.
        deterministic: Whether only operators are used that give the same bytes in every run.
    """

    tf32: bool = False
    deterministic: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Numerics:
        """Return what the configuration of a step says."""
        return cls(
            tf32=config.get("precision", {}).get("tf32", False),
            deterministic=config.get("deterministic", False),
        )

    def to_json(self) -> dict[str, Json]:
        """Return the fields as plain values."""
        return {"tf32": self.tf32, "deterministic": self.deterministic}


@dataclass(frozen=True)
class ProcessSettings:
    """What a process computes with.

    Attributes:
        threads: Threads of torch.
        device: ``cpu`` or ``cuda``.
        memory_share: Share of a GPU's memory that the process may take.
        numerics: How numbers are computed.
        parts: Into how many parts batches are split, so that they need less memory.
    """

    threads: int = 1
    device: str = "cpu"
    memory_share: float = 1.0
    numerics: Numerics = Numerics()
    parts: int = 1


_prepared = [ProcessSettings()]


def prepared() -> ProcessSettings:
    """Return what this process was prepared for last."""
    return _prepared[-1]


@contextmanager
def in_parts(parts: int) -> Iterator[None]:
    """Let batches be split into ``parts`` parts while the context lasts."""
    before = prepared()
    _prepared[:] = [replace(before, parts=parts)]
    try:
        yield
    finally:
        _prepared[:] = [before]


def prepare_process(settings: ProcessSettings) -> None:
    """Let torch compute as ``settings`` say, whatever was set before.

    Does not load torch without need: steps that compute nothing do without.

    Raises:
        ResourceError: if it is too late for determinism: CUDA has started without it.
    """
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)  # for a function that loads torch itself
    if settings.device == "cuda":
        _set_cublas_workspace(settings.numerics)
    if settings.device != "cpu" or settings.numerics != Numerics():
        import torch
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.set_num_threads(settings.threads)
        _set_numerics(torch, settings.numerics)
        if settings.device == "cuda" and {settings.memory_share, prepared().memory_share} != {1.0}:
            torch.cuda.set_per_process_memory_fraction(settings.memory_share)
    _prepared[:] = [settings]


def _set_cublas_workspace(numerics: Numerics) -> None:
    """Give cuBLAS workspaces of its own, which it looks for when CUDA starts.

    Whether the next step of the process is to be deterministic is not known then, so that they are
    set in any case.
    """
    given = os.environ.get(CUBLAS_WORKSPACE)
    torch = sys.modules.get("torch")
    started = torch is not None and torch.cuda.is_initialized()
    if not started and given is None:
        os.environ[CUBLAS_WORKSPACE] = CUBLAS_WORKSPACES[0]
    elif numerics.deterministic and given not in CUBLAS_WORKSPACES:
        msg = (
            f"deterministic: this process has started CUDA with {CUBLAS_WORKSPACE}={given}; set it "
            f"to {CUBLAS_WORKSPACES[0]} before the process starts"
        )
        raise ResourceError(msg)


def _set_numerics(torch: Any, numerics: Numerics) -> None:  # noqa: ANN401 - a module
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # Not the newer ``fp32_precision``: torch.compile asks for the precision of all products, which
    # is an error where only those of CUDA were set by it (torch 2.14), and torch 2.7 lacks it.
    torch.backends.cuda.matmul.allow_tf32 = numerics.tf32
    torch.backends.cudnn.allow_tf32 = numerics.tf32  # torch's own default is True
    if torch.are_deterministic_algorithms_enabled() != numerics.deterministic:  # loads inductor
        # What is not initialised is written before it is read, everywhere.
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.use_deterministic_algorithms(numerics.deterministic)
