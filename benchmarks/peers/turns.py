"""Processes that take turns, one unit of work each: ratios are those of neighbours in time."""

from __future__ import annotations

import multiprocessing
import resource
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peers.problems import COMPILED, EAGER, PLAIN_REUSED, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    import numpy as np

    Turn = Callable[[float], None]


@dataclass(frozen=True)
class Found:
    """What one process found: losses, what all updates moved by how much, its memory in MB."""

    losses: list[float]
    move: np.ndarray
    peak: float


def in_turns(runs: Sequence[Run]) -> tuple[list[list[float]], list[Found]]:
    """Return the CPU seconds of the units after the first of every run, and what it found."""
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(run)) for run in runs]
        times: list[list[float]] = [[] for _ in runs]
        for number in range(runs[0].updates):
            for worker, seconds in zip(workers, times, strict=True):
                taken = worker.update()
                if number:
                    seconds.append(taken)
        return times, [worker.found() for worker in workers]


class _Worker:
    """A process that makes one unit when it is asked to."""

    def __init__(self, run: Run) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(run, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.join()

    def update(self) -> float:
        """Return the CPU seconds of one unit."""
        self._connection.send("go")
        seconds: float = self._connection.recv()
        return seconds

    def found(self) -> Found:
        """Return what came out after the last unit."""
        found: Found = self._connection.recv()
        return found


def _serve(run: Run, connection: Connection) -> None:
    """Make one unit for every message, answer with its seconds, and at last with Found."""
    import torch

    from pdd_ray.core.memory import freed_memory_is_reused
    from peers.units import work

    torch.set_num_threads(1)
    reused = run.kind in (EAGER, COMPILED, PLAIN_REUSED)  # as steps run
    losses: list[float] = []
    started = 0.0

    def turn(loss: float) -> None:
        nonlocal started
        connection.send(time.process_time() - started)
        losses.append(loss)
        if len(losses) < run.updates:
            connection.recv()
        started = time.process_time()

    with freed_memory_is_reused() if reused else nullcontext():
        unit = work(run)
        connection.recv()
        started = time.process_time()
        move = unit(turn)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        connection.send(Found(losses, move.numpy(), peak))
