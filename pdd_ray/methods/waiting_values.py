"""Values of updates, which wait on the device until they are told: loss, step size, ..."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.core.transfers import FetchTimes, fetched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class WaitingValues:
    """Collects the values of updates, and reads those of several together.

    Reading one waits for all that the device still has to do. On the CPU it is always time.

    Args:
        device: Where the values are.
    """

    def __init__(self, device: str) -> None:
        self._times = FetchTimes(device)
        self._waiting: list[tuple[int, Mapping[str, Tensor | float]]] = []

    def add(self, iteration: int, values: Mapping[str, Tensor | float]) -> None:
        """Take the ``values``, tensors [] or numbers, after ``iteration`` updates."""
        self._waiting.append((iteration, values))

    @property
    def due(self) -> bool:
        """Whether it is time to read them."""
        return self._times.due(len(self._waiting))

    def read(self) -> list[tuple[int, dict[str, float]]]:
        """Return all that was added since the last call, as numbers and in the same order."""
        waiting, self._waiting = self._waiting, []
        numbers = iter(fetched([value for _, values in waiting for value in values.values()]))
        self._times.fetched()
        return [
            (iteration, {name: next(numbers) for name in values}) for iteration, values in waiting
        ]
