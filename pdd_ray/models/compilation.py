"""Compiling functions with torch.compile, so that they are never run in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

VERSIONS = 128
"""Networks and batch sizes for which a process may compile one function."""


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """Return ``function`` compiled once for each network and each shape of its arguments.

    A process that is reused for many steps meets more of them than the 8 after which torch would
    silently go on without compiling, with results that differ by rounding and depend on what the
    process did before. Here the limit is higher, and beyond it there is an error.
    """
    from torch._dynamo import config  # takes a second, so only where something is compiled

    config.recompile_limit = max(config.recompile_limit, VERSIONS)
    return torch.compile(function, fullgraph=True, dynamic=False)
