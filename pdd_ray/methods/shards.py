"""Class sharding: the classes of one update spread over processes, with the same bytes."""

from __future__ import annotations

import io
import multiprocessing
import signal
import sys
import traceback
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol

import torch

from pdd_ray.core.errors import ResourceError
from pdd_ray.core.memory import freed_memory_is_reused
from pdd_ray.core.out_of_memory import is_out_of_memory
from pdd_ray.core.processes import ProcessSettings, prepare_process, prepared

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from torch import Tensor

    from pdd_ray.methods.class_matching import ClassMatch, ClassTask

P = ParamSpec("P")


class Matcher(Protocol[P]):
    """Gives the loss and the image gradient of each class.

    The result of a class depends on its own task and on what all classes share, not on the other
    tasks. P is what they share besides the network: statistics of batch norm, or nothing.
    """

    def match(
        self, theta: Tensor, tasks: Sequence[ClassTask], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[ClassMatch]:
        """Return one result per task under the network ``theta`` [P]."""


@contextmanager
def sharded(matcher: Matcher[P], shards: int) -> Iterator[Matcher[P]]:
    """Give a matcher that computes as ``matcher`` does, in ``shards`` processes.

    One of them is this process; the others are started here, with the settings and as many threads
    of torch each as this one has now, and end with the context. They get ``matcher`` once. Every
    tensor is copied through the memory of the CPU and arrives on the device from which it was sent,
    so that shards of a stage on a GPU share it.

    Args:
        matcher: Must be picklable, by functions and classes of modules that can be imported. With
            batch norm that mixes the classes there may be only one shard, which planning sees to.
        shards: Processes, at least 1. Those beyond the number of tasks stay idle.

    Raises:
        ResourceError: from ``match``, if a process has died.
        RuntimeError: from ``match``, with the text of an error in another process; an
            OutOfMemoryError if that is what it was.
    """
    if shards == 1:
        yield matcher
        return
    with ExitStack() as stack:
        settings = replace(prepared(), threads=torch.get_num_threads())
        workers = [stack.enter_context(_worker(settings)) for _ in range(1, shards)]
        packed = _packed(matcher)
        for worker in workers:
            worker.send(packed)
        del packed
        yield _ShardedMatcher(matcher, workers)


class _ShardedMatcher(Matcher[P]):
    """Computes the first part of the tasks itself, and the others in ``workers``."""

    def __init__(self, matcher: Matcher[P], workers: Sequence[_Worker]) -> None:
        self._matcher = matcher
        self._workers = workers

    def match(
        self, theta: Tensor, tasks: Sequence[ClassTask], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[ClassMatch]:
        first, *others = _contiguous_parts(tasks, len(self._workers) + 1)
        busy = [(worker, part) for worker, part in zip(self._workers, others, strict=True) if part]
        try:
            for worker, part in busy:
                worker.send(_packed((theta.detach(), part, args, kwargs)))
            matches = self._matcher.match(theta, first, *args, **kwargs)
            for worker, _ in busy:
                matches += worker.receive()
        except BaseException:
            # Answers that nobody has waited for would be taken for those of the next update.
            for worker in self._workers:
                worker.end()
            raise
        return matches


class _Worker:
    """The parent's side of a process that computes matches.

    ``multiprocessing`` and not a pool of ``concurrent.futures``: a process that dies while it is
    given its matcher would block the pool for ever, and the processes of a pool stay behind when
    their parent is killed. Here both sides see the end of a pipe.
    """

    def __init__(self, settings: ProcessSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, settings), name="class shard", daemon=True
        )
        try:
            with theirs, _main_module_hidden():
                self._process.start()
        except BaseException:
            self._connection.close()
            raise

    def send(self, packed: memoryview) -> None:
        try:
            self._connection.send_bytes(packed)
        except OSError as error:
            raise self._death() from error

    def receive(self) -> list[ClassMatch]:
        try:
            answer = _unpacked(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._death() from error
        if isinstance(answer, _Failure):
            msg = f"in a process of the class shards: {answer.text}"
            if answer.out_of_memory:
                raise torch.OutOfMemoryError(msg)
            raise RuntimeError(msg)
        matches: list[ClassMatch] = answer
        return matches

    def end(self) -> None:
        """End the process, whatever it is doing; it has nothing to save."""
        self._connection.close()
        self._process.kill()
        self._process.join()

    def _death(self) -> ResourceError:
        self._process.join(timeout=5)
        code = self._process.exitcode
        how = "its connection broke"
        if code is not None:
            how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
        return ResourceError(
            f"a process of the class shards died ({how}); most often the memory was short: each "
            "shard holds the train images, so lower resources.class_shards or give the stage more "
            "memory"
        )


@dataclass(frozen=True)
class _Failure:
    """An error in another process: its traceback, or its own text if the memory was short."""

    text: str
    out_of_memory: bool


@contextmanager
def _worker(settings: ProcessSettings) -> Iterator[_Worker]:
    worker = _Worker(settings)
    try:
        yield worker
    finally:
        worker.end()


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Let no started process run the main module again.

    ``multiprocessing`` does so in case the main module defines what is sent. It need not be made
    for that: it is a user's script without a guard, or the program of a Ray worker.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(connection: Connection, settings: ProcessSettings) -> None:
    """Compute matches in a process of its own until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    prepare_process(settings)
    with connection, freed_memory_is_reused(), suppress(EOFError, ConnectionError):
        matcher: Matcher[...] = _unpacked(connection.recv_bytes())
        while True:
            theta, tasks, args, kwargs = _unpacked(connection.recv_bytes())
            answer: list[ClassMatch] | _Failure
            try:
                answer = matcher.match(theta, tasks, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the parent raises it
                short = is_out_of_memory(error)
                answer = _Failure(str(error) if short else traceback.format_exc(), short)
            connection.send_bytes(_packed(answer))


def _contiguous_parts(tasks: Sequence[ClassTask], count: int) -> list[Sequence[ClassTask]]:
    """Return ``tasks`` in ``count`` parts whose sizes differ by one at most; some may be empty."""
    bounds = [len(tasks) * part // count for part in range(count + 1)]
    return [tasks[start:stop] for start, stop in pairwise(bounds)]


def _packed(value: object) -> memoryview:
    """Return ``value`` as bytes.

    What ``multiprocessing`` makes of tensors needs shared memory, which containers have little of.
    """
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getbuffer()


def _unpacked(packed: bytes) -> Any:  # noqa: ANN401 - whatever was packed
    return torch.load(io.BytesIO(packed), weights_only=False)  # by this program
