"""Compiling functions with torch.compile, so that they are never run in another way.

On CUDA what is compiled runs as CUDA graphs (mode ``reduce-overhead``): all kernels of a call are
started at once. A graph writes every call's results into the same memory, so they are copied here
before anybody gets them. No GPU has run this yet: tests show that the mode follows the device and
that results are copies, and torch's documentation says the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from pdd_ray.core.errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

VERSIONS = 128
"""Networks and batch sizes for which a process may compile one function."""
MODES: Final = {"cuda": "reduce-overhead"}
"""Mode of torch.compile by type of device; the usual one elsewhere."""


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """Return ``function`` compiled once for each network and each shape of its arguments.

    A process that is reused for many steps meets more of them than the 8 after which torch would
    silently go on without compiling, with results that differ by rounding and depend on what the
    process did before. Here the limit is higher, and beyond it there is an error.

    Raises:
        ResourceError: when it is called, if there is no C++ compiler.
    """
    from torch._dynamo import config  # takes a second, so only where something is compiled
    from torch._inductor.exc import InductorError, InvalidCxxCompiler

    config.recompile_limit = max(config.recompile_limit, VERSIONS)
    versions: dict[str | None, Callable[P, T]] = {}

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        mode = MODES.get(device_type((args, kwargs)))
        if mode not in versions:
            versions[mode] = torch.compile(function, fullgraph=True, dynamic=False, mode=mode)
        try:
            if mode is None:
                return versions[mode](*args, **kwargs)
            torch.compiler.cudagraph_mark_step_begin()
            return copied(versions[mode](*args, **kwargs))
        except InductorError as error:
            if not isinstance(error.inner_exception, InvalidCxxCompiler):
                raise
            msg = (
                "torch.compile finds no C++ compiler; install g++, name one in CXX, or turn off "
                "method.compile and experts.compile"
            )
            raise ResourceError(msg) from error

    return call


def device_type(arguments: object) -> str:
    """Return the type of the device of the first tensor among ``arguments``; cpu without any."""
    tensors = (leaf for leaf in tree_leaves(arguments) if isinstance(leaf, torch.Tensor))
    first = next(tensors, None)
    return "cpu" if first is None else first.device.type


def copied(results: T) -> T:
    """Return ``results`` with every tensor copied; differentiable where they are."""
    copies: T = tree_map_only(torch.Tensor, torch.clone, results)
    return copies
