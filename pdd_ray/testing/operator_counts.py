"""What a computation asks of a device: its operators, arithmetic and bytes, seen as they run."""

# ruff: noqa: ANN401 - operators take and give anything

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from pdd_ray.core.work import QUANTITIES, Work
from pdd_ray.models import average_pooling

NO_KERNEL = {
    "_local_scalar_dense",
    "_reshape_alias",
    "_unsafe_view",
    "detach",
    "detach_",
    "empty",
    "empty_like",
    "empty_strided",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
}
"""Operators that compute nothing, besides views."""
SELECTING = {"index", "index_select", "gather", "_unsafe_index", "embedding"}
"""Operators that read no more of their first input than they give."""


class OperatorCounts(TorchDispatchMode):
    """Counts what is computed on the CPU while the context lasts, derivatives too.

    ::

        with OperatorCounts() as counts:
            loss.backward()
        print(counts.work, counts.peak)

    Attributes:
        peak: Most bytes that tensors made in the context held at the same time.
        names: How often each operator ran.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0.0
        self._counts = dict.fromkeys(QUANTITIES, 0.0)
        self.names: Counter[str] = Counter()
        self._live: dict[int, int] = {}
        self._held = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        before = [value for value in tree_iter((args, kwargs)) if isinstance(value, Tensor)]
        after = [value for value in tree_iter(result) if isinstance(value, Tensor)]
        for tensor in after:
            self._hold(tensor, before)
        name = func._schema.name.partition("::")[2]
        if not func.is_view and name not in NO_KERNEL:
            self.names[name] += 1
            self._count(func, name, args, kwargs, result, before, after)
        return result

    @property
    def work(self) -> Work:
        """The counts so far."""
        return Work(**self._counts)

    def _count(
        self,
        func: Any,
        name: str,
        args: Any,
        kwargs: Any,
        result: Any,
        before: list[Tensor],
        after: list[Tensor],
    ) -> None:
        if name in SELECTING:
            before = [*after, *before[1:]]
        counts = self._counts
        counts["operators"] += 1
        kind = _kind(name)
        packet = func.overloadpacket
        if packet in flop_registry:
            counts["flops"] += float(flop_registry[packet](*args, **kwargs, out_val=result))
            kind = "products"
        counts[kind] += sum(map(_bytes, before)) + sum(map(_bytes, after))

    def _hold(self, tensor: Tensor, given: list[Tensor]) -> None:
        """Note the storage of ``tensor`` if it is a new one, until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live or any(key == one.untyped_storage()._cdata for one in given):
            return
        size = storage.nbytes()
        self._live[key] = size
        self._held += size
        self.peak = max(self.peak, float(self._held))
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self._held -= self._live.pop(key, 0)


def _kind(name: str) -> str:
    """Return which bytes an operator that is no product moves."""
    if "native" in name and "norm" in name:
        return "normalisation"
    return "pooling" if "pool" in name else "other"


def _bytes(tensor: Tensor) -> int:
    """Return the bytes of memory that ``tensor`` stands for; expanded values count once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def counted(function: Any, *args: Any) -> OperatorCounts:
    """Return the counts of calling ``function`` with ``args``; pooling counts as on a GPU."""
    torch.manual_seed(0)
    counts = OperatorCounts()
    with mock.patch.object(average_pooling, "average_by_product", _average), counts:
        function(*args)
    return counts


def _average(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, 2, 2)
