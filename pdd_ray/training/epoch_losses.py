"""The mean losses of epochs: they stay on the device until somebody wants to know them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, SupportsFloat

import torch

from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.core.transfers import FetchTimes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class EpochLosses:
    """Checks that the mean loss of every epoch is finite, and gives the newest as a number.

    Reading a loss waits for the device. So those of several epochs are read together: once a
    second, after so many epochs, or when :func:`float` asks; on the CPU after every epoch.

    Args:
        device: Where the losses are.
    """

    def __init__(self, device: torch.device) -> None:
        self._times = FetchTimes(device)
        self._waiting: list[tuple[int, Sequence[Tensor], Sequence[int]]] = []
        self._last_read = math.nan

    def add(self, epoch: int, losses: Sequence[Tensor], sizes: Sequence[int]) -> None:
        """Take the mean ``losses``, each [], of the batches of ``epoch``, and their ``sizes``.

        Raises:
            NonFiniteLossError: if it was time to read them; see :meth:`read`.
        """
        self._waiting.append((epoch, losses, sizes))
        if self._times.due(len(self._waiting)):
            self.read()

    def read(self) -> None:
        """Read what waits on the device.

        Raises:
            NonFiniteLossError: if the mean loss of an epoch is not finite, naming the first such.
        """
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        values = iter(torch.stack([loss for _, losses, _ in waiting for loss in losses]).tolist())
        self._times.fetched()
        for epoch, _, sizes in waiting:
            total = sum(next(values) * size for size in sizes)
            mean = total / sum(sizes)
            if not math.isfinite(mean):
                msg = f"the training loss is {mean} in epoch {epoch}; lower the learning rate"
                raise NonFiniteLossError(msg)
            self._last_read = mean

    @property
    def newest(self) -> SupportsFloat:
        """The mean loss of the newest epoch: a number, or what waits for it when it is made one."""
        return self if self._waiting else self._last_read

    def __float__(self) -> float:
        """Return the mean loss of the newest epoch; waits for the device.

        Raises:
            NonFiniteLossError: if one was not finite.
        """
        self.read()
        return self._last_read
