"""The prepared data sets that a process keeps, on the CPU and on devices, and their memory.

Artifacts never change, so steps that a process makes one after the other share what was read. A
split is on a device only if a step there has asked for it: evaluations take the held-out splits,
which are small, and leave the train images on the CPU.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from torch import Tensor

    from pdd_ray.data.dataset import Dataset

logger = logging.getLogger(__name__)

MOST = 2
"""Data sets that are kept: that of the step and the one before."""
CPU = "cpu"


class KeptSets:
    """The last data sets that were asked for; earlier ones are forgotten, on all devices."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._sets: OrderedDict[Hashable, dict[str, Dataset]] = OrderedDict()

    def get(
        self, key: Hashable, read: Callable[[], Dataset], device: str, splits: Sequence[str]
    ) -> Dataset:
        """Return the data set ``key`` with ``splits`` on ``device``, others possibly too.

        It is the same object until more is wanted there.

        Args:
            key: What it is called here.
            read: Reads it, if it is not kept.
            device: Where ``splits`` are wanted.
            splits: Of ``train``, ``validation`` and ``test``.
        """
        before = self.nbytes()
        if key not in self._sets:
            self._sets[key] = {CPU: read()}
        self._sets.move_to_end(key)
        while len(self._sets) > self._most:
            self._sets.popitem(last=False)
        places = self._sets[key]
        found = places.get(device, places[CPU])
        missing = [split for split in splits if not found.has_on(split, device)]
        if missing:
            found = places[device] = found.to(device, missing)
        if self.nbytes() != before:
            logger.info("prepared data kept in this process: %s", self._summary())
        return found

    def nbytes(self) -> dict[str, int]:
        """Return the bytes of all images, labels and statistics that are kept, by device."""
        total: Counter[str] = Counter()
        for places in self._sets.values():
            for tensor in {id(tensor): tensor for tensor in _tensors(places)}.values():
                total[str(tensor.device)] += tensor.numel() * tensor.element_size()
        return dict(total)

    def _summary(self) -> str:
        parts = [f"{size / 1e6:.1f} MB on {device}" for device, size in self.nbytes().items()]
        return f"{len(self._sets)} of at most {self._most} sets, {', '.join(parts)}"


def _tensors(places: dict[str, Dataset]) -> Iterator[Tensor]:
    for dataset in places.values():
        yield from dataset.tensors().values()
        yield from dataset.pixels.tensors().values()
