"""What a cluster has, and which steps fit on it at the same time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import repeat, takewhile
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdd_ray.core.steps import Resources

TOLERANCE = 1e-6
"""Ray counts resources in units of 1e-4; sums of fractions may differ by less than that."""
MOST_SLOTS = 1024
"""Steps that are counted as fitting at once: some hold nothing at all."""


@dataclass(frozen=True)
class Node:
    """One machine: CPUs, GPUs, bytes of memory that may be reserved."""

    cpus: float
    gpus: int = 0
    memory: float = float("inf")


class Capacity(Protocol):
    """Where steps run."""

    def packing(self, running: Iterable[Resources]) -> Packing:
        """Return what is free while steps with these resources run."""
        ...

    def slots(self, wanted: Resources) -> int:
        """Return how many steps that hold ``wanted`` may run side by side, with nothing else."""
        ...

    def has_room(self, running: Iterable[Resources], idle: Iterable[Resources]) -> bool:
        """Return whether idle actors that hold ``idle`` are in the way of nobody."""
        ...


class Packing(Protocol):
    """What is free, while it is being given away."""

    def place(self, wanted: Resources) -> bool:
        """Take ``wanted``, and return whether it was there to take."""
        ...

    def claim(self, wanted: Resources) -> None:
        """Keep what ``wanted`` waits for from those that come later."""
        ...


@dataclass(frozen=True)
class FixedCapacity:
    """A cluster whose machines are known.

    Attributes:
        nodes: The machines.
        spare_cpus: CPUs that Ray believes each machine to have in addition: no step is started
            on them, only idle actors hold them.
        exclusive: Whether nobody else uses the cluster.
    """

    nodes: tuple[Node, ...]
    spare_cpus: float = 0.0
    exclusive: bool = True

    def packing(self, running: Iterable[Resources]) -> FixedPacking:
        """Return what is free; steps that fit nowhere (their machine is gone) take nothing."""
        packing = FixedPacking(self.nodes)
        for resources in running:
            packing.place(resources)
        return packing

    def slots(self, wanted: Resources) -> int:
        """Return how many steps that hold ``wanted`` fit; at most :data:`MOST_SLOTS`."""
        return _slots(self.nodes, wanted)

    def has_room(self, running: Iterable[Resources], idle: Iterable[Resources]) -> bool:
        """Return whether ``idle`` is free beside ``running``.

        What others leave free is not known: beside them, idle actors are in the way as soon
        as anything runs.
        """
        running = list(running)
        if not self.exclusive:
            return not running
        nodes = [replace(node, cpus=node.cpus + self.spare_cpus) for node in self.nodes]
        packing = FixedPacking(nodes)
        return all(packing.place(resources) for resources in (*running, *idle))

    def fits(self, wanted: Resources) -> bool:
        """Return whether ``wanted`` fits on a machine that does nothing else."""
        return FixedPacking(self.nodes).place(wanted)


@dataclass(frozen=True)
class ElasticCapacity:
    """A cluster that grows with what is asked of it: at most ``steps`` are asked at once."""

    steps: int

    def packing(self, running: Iterable[Resources]) -> ElasticPacking:
        """Return how many more steps may be asked for."""
        return ElasticPacking(self.steps - len(list(running)))

    def slots(self, _wanted: Resources) -> int:
        """Return how many steps may be asked for."""
        return self.steps

    def has_room(self, running: Iterable[Resources], _idle: Iterable[Resources]) -> bool:
        """Return whether nothing runs: how far the cluster can grow is not known."""
        return not list(running)


class FixedPacking:
    """Free CPUs, GPUs and memory per machine; a fraction of a GPU lies on one GPU."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._free = [_FreeNode(node) for node in nodes]

    def place(self, wanted: Resources) -> bool:
        """Take ``wanted`` from the first machine that has it free."""
        for node in self._free:
            if node.fits(wanted):
                node.take(wanted)
                return True
        return False

    def claim(self, wanted: Resources) -> None:
        """Take ``wanted`` from the machine that lacks least of it, below zero if need be."""
        able = [node for node in self._free if _FreeNode(node.whole).fits(wanted)]
        if able:
            min(able, key=lambda node: node.lacks(wanted)).take(wanted)


class ElasticPacking:
    """A number of steps that may still be asked for."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def place(self, _wanted: Resources) -> bool:
        """Take one of the steps."""
        self._steps -= 1
        return self._steps >= 0

    def claim(self, wanted: Resources) -> None:
        """Do nothing: the cluster queues what waits."""


class _FreeNode:
    def __init__(self, whole: Node) -> None:
        self.whole = whole
        self.cpus = whole.cpus
        self.memory = whole.memory
        self.gpus = [1.0] * whole.gpus

    def fits(self, wanted: Resources) -> bool:
        return self.lacks(wanted) == 0

    def lacks(self, wanted: Resources) -> float:
        """Return how much is missing, as a sum of the missing shares."""
        memory = wanted.memory or 0
        return (
            _missing(wanted.cpus, self.cpus)
            + _missing(memory, self.memory) / max(memory, 1)
            + _missing(wanted.gpus, self._free_gpus(wanted.gpus))
        )

    def take(self, wanted: Resources) -> None:
        self.cpus -= wanted.cpus
        self.memory -= wanted.memory or 0
        whole, fraction = divmod(wanted.gpus, 1)
        for _ in range(int(whole)):
            self._take_gpu(max(self.gpus), 1.0)
        if fraction:  # from the fullest GPU that has room, as Ray does; else from the emptiest
            with_room = [free for free in self.gpus if free > fraction - TOLERANCE]
            self._take_gpu(min(with_room, default=max(self.gpus)), fraction)

    def _free_gpus(self, wanted: float) -> float:
        if 0 < wanted < 1:
            return max(self.gpus, default=0.0)
        return float(sum(free > 1 - TOLERANCE for free in self.gpus))

    def _take_gpu(self, free: float, share: float) -> None:
        self.gpus[self.gpus.index(free)] -= share


@lru_cache(maxsize=64)
def _slots(nodes: tuple[Node, ...], wanted: Resources) -> int:
    packing = FixedPacking(nodes)
    return sum(1 for _ in takewhile(packing.place, repeat(wanted, MOST_SLOTS)))


def _missing(wanted: float, free: float) -> float:
    return wanted - free if wanted > free + TOLERANCE else 0.0
