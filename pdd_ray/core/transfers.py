"""Between the CPU and a device: few copies, for none of which the CPU has to wait.

Whatever is random is drawn on the CPU, in many small tensors; what training shows are many single
numbers on the device. Copied one by one, each costs a launch and, from ordinary memory, a wait for
all that the device still has to do. So they travel together: :func:`moved` and
:func:`moved_network` to the device, :func:`fetched` back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch import nn

    T = TypeVar("T")
    Network = TypeVar("Network", bound=nn.Module)

ALIGNMENT = 16
"""Bytes: every tensor of a packed copy begins at a multiple of it, as every type may."""
SECONDS_BETWEEN_FETCHES = 1.0
MOST_WAITING = 100
"""Values that may wait on a device; a loss that is not finite is found so many units later."""


def moved(value: T, device: torch.device | str) -> T:
    """Return ``value`` with all tensors of the CPU in it on ``device``, sent in one copy.

    The copy starts from pinned memory where the device is CUDA's, and the CPU does not wait for it.
    On the CPU it is ``value`` itself. Tensors that are on the device already stay as they are.

    Args:
        value: Tensors in dataclasses, tuples, lists and mappings, nested as one likes; everything
            else is kept. None of them needs a gradient.
        device: Where to.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return value
    found = list(_host_tensors(value))
    if not found:
        return value
    return cast("T", _with_tensors(value, iter(_copied(found, device))))


def moved_network(network: Network, device: torch.device | str) -> Network:
    """Return ``network``, whose parameters and buffers are on ``device`` now, sent in one copy."""
    if torch.device(device).type != "cpu":
        network.load_state_dict(moved(network.state_dict(), device), assign=True)
    return network


def host_bytes(value: object) -> int:
    """Return the bytes of all tensors of the CPU in ``value``, which :func:`moved` would send."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _host_tensors(value))


def fetched(values: Sequence[Tensor | float]) -> list[float]:
    """Return ``values``, tensors of no dimension as numbers, numbers as they are; waits once.

    Tensors of integers beyond 2^53 would be rounded.
    """
    tensors = [value.detach() for value in values if isinstance(value, Tensor)]
    if not tensors:
        return [value for value in values if not isinstance(value, Tensor)]
    read = iter(torch.stack([tensor.to(torch.float64) for tensor in tensors]).tolist())
    return [next(read) if isinstance(value, Tensor) else value for value in values]


class FetchTimes:
    """When values that wait on a device are fetched: about once a second, or if many wait.

    On the CPU nothing waits, so it is always time.

    Args:
        device: Where the values are.
        seconds: Between two fetches; :data:`SECONDS_BETWEEN_FETCHES` by default.
        most: Values that may wait.
    """

    def __init__(
        self,
        device: torch.device | str,
        seconds: float | None = None,
        most: int = MOST_WAITING,
    ) -> None:
        self._always = torch.device(device).type == "cpu"
        self._seconds = SECONDS_BETWEEN_FETCHES if seconds is None else seconds
        self._most = most
        self._last = time.monotonic()

    def due(self, waiting: int) -> bool:
        """Return whether it is time, if so many values are ``waiting``."""
        passed = time.monotonic() - self._last >= self._seconds
        return bool(waiting) and (self._always or waiting >= self._most or passed)

    def fetched(self) -> None:
        """Note that all values were fetched now."""
        self._last = time.monotonic()


def _copied(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return the ``tensors`` of the CPU on ``device``, as parts of one buffer."""
    starts, total = [], 0
    for tensor in tensors:
        starts.append(total)
        size = tensor.numel() * tensor.element_size()
        total += -(-size // ALIGNMENT) * ALIGNMENT
    packed = torch.empty(total, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for start, tensor in zip(starts, tensors, strict=True):
        content = tensor.contiguous().flatten().view(torch.uint8)
        packed[start : start + len(content)] = content
    arrived = packed.to(device, non_blocking=True)
    return [
        arrived[start : start + tensor.numel() * tensor.element_size()]
        .view(tensor.dtype)
        .view(tensor.shape)
        for start, tensor in zip(starts, tensors, strict=True)
    ]


def _host_tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.device.type == "cpu":
            yield value.detach()
    else:
        for _, part in _parts(value):
            yield from _host_tensors(part)


def _with_tensors(value: Any, tensors: Iterator[Tensor]) -> Any:  # noqa: ANN401 - any structure
    """Return ``value`` with ``tensors`` in the places of those of the CPU, in the same order."""
    if isinstance(value, Tensor):
        return next(tensors) if value.device.type == "cpu" else value
    parts = {name: _with_tensors(part, tensors) for name, part in _parts(value)}
    if not parts:
        return value
    if isinstance(value, Mapping):
        return parts
    if isinstance(value, list | tuple):
        return type(value)(parts.values())
    return replace(value, **parts)


def _parts(value: object) -> list[tuple[Any, object]]:
    """Return what ``value`` consists of, by name or place; nothing if it is no structure."""
    if isinstance(value, Mapping):
        return list(value.items())
    if type(value) in (list, tuple):
        return list(enumerate(cast("Sequence[object]", value)))
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    return []
