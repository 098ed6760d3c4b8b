"""Which step runs next: states of steps, priorities and what fits. Pure; knows no Ray."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pdd_ray.core.steps import topological
from pdd_ray.runtime.batches import most_steps, plan_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pdd_ray.core.steps import Resources, Step
    from pdd_ray.runtime.batches import Batch, Speeds
    from pdd_ray.runtime.capacity import Capacity

Priority = tuple[float, int, str, str]
"""Sorts first what is first: minus the remaining cost, minus the remaining steps, then what is
alike side by side, the key."""


Line = tuple[str, "Resources"]
"""Steps that wait in one line: those that run in the same way and hold the same."""


class RunState(StrEnum):
    """Where a step is."""

    WAITING = "waiting"  # for inputs
    READY = "ready"  # for room
    QUEUED = "queued"  # behind another step of its worker
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"  # an input, or an input's input, failed


UNFINISHED = (RunState.WAITING, RunState.READY, RunState.QUEUED, RunState.RUNNING)


@dataclass(eq=False)
class _Slot:
    """What one worker holds, the steps that it is doing, and the groups that it does next."""

    resources: Resources
    running: set[str]
    queued: deque[set[str]]


class Scheduler:
    """States of all steps of a run, changed only through its methods.

    A step is ready when all its inputs are done. Of the ready steps, the one on the longest
    remaining path (by cost) comes first. One that does not fit yet keeps what it waits for
    from those behind it, so that it is never starved; what it does not need, they may use.

    A worker may be given several steps at once, which then share what one of them holds
    (:mod:`pdd_ray.runtime.batches`). Each of them is still a step of its own here; one that has
    lost its worker is given to the next one alone.

    Args:
        steps: What is to be done.
        is_done: Whether the artifact of a key exists.
        max_trials: Most trials at the same time.
        speeds: Tells how long steps take; without it each worker is given a single one.

    Attributes:
        steps: All steps by key, inputs before what reads them.
        cached: Keys that were done before the run.
        failed: One-line messages of failed steps.
        blocked: For every blocked step the key of the failed one that it needs.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        is_done: Callable[[str], bool],
        *,
        max_trials: int,
        speeds: Speeds | None = None,
    ) -> None:
        self.steps = {step.key: step for step in topological(steps)}
        self.failed: dict[str, str] = {}
        self.blocked: dict[str, str] = {}
        self._max_trials = max_trials
        self._speeds = speeds
        self._inputs = {
            key: {parent.key for parent in step.inputs.values()} for key, step in self.steps.items()
        }
        self._children: dict[str, list[str]] = {key: [] for key in self.steps}
        for key, inputs in self._inputs.items():
            for parent in inputs:
                self._children[parent].append(key)
        self._priorities = _priorities(self.steps, self._children)
        self.cached = {key for key in self.steps if is_done(key)}
        self._states = {
            key: RunState.DONE if key in self.cached else RunState.WAITING for key in self.steps
        }
        self._running: dict[str, None] = {}
        self._slots: dict[str, _Slot] = {}  # of what is running or queued
        self._alone: set[str] = set()
        self._begun: list[str] = []
        self._ready: dict[Line, list[Priority]] = {}
        self._unfinished = Counter(
            step.runs_as for key, step in self.steps.items() if key not in self.cached
        )
        self._may_launch = True
        for key in self.steps:
            self._release(key)

    # --- what is asked --------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether anything is left to be done."""
        return self._unfinished.total() > 0

    @property
    def has_trials(self) -> bool:
        """Whether any trial is left to be done."""
        return self._unfinished["trial"] > 0

    @property
    def running(self) -> tuple[str, ...]:
        """Keys of running steps, in the order in which they were begun."""
        return tuple(self._running)

    def state(self, key: str) -> RunState:
        """Return where the step ``key`` is."""
        return self._states[key]

    def keys(self, *states: RunState) -> tuple[str, ...]:
        """Return the keys of the steps in one of ``states``, inputs before what reads them."""
        return tuple(key for key, state in self._states.items() if state in states)

    def launch(self, capacity: Capacity) -> list[Batch]:
        """Choose what starts now and return it, a batch for each worker, most urgent first.

        The first group of each is running then, the others are queued.
        """
        if not self._may_launch:
            return []
        self._may_launch = False
        packing = capacity.packing(self._held())
        launched: list[Batch] = []
        served: Counter[Line] = Counter()
        closed: set[Line] = set()
        while (step := self._first(closed)) is not None:
            if not self._trial_allowed(step):
                closed.add(_line(step))
            elif packing.place(step.resources):
                batch = self._batch(step, capacity, served[_line(step)])
                served[_line(step)] += 1
                self._start(batch)
                launched.append(batch)
            else:
                packing.claim(step.resources)
                closed.add(_line(step))
        return launched

    def begun(self) -> list[Step]:
        """Return the steps that were begun since this was asked last."""
        begun, self._begun = self._begun, []
        return [self.steps[key] for key in begun]

    def has_room(self, capacity: Capacity, idle: Iterable[Resources]) -> bool:
        """Return whether idle actors that hold ``idle`` are in the way of no running step."""
        return capacity.has_room(self._held(), idle)

    # --- what happened --------------------------------------------------------------------------

    def capacity_changed(self) -> None:
        """Look again at what fits."""
        self._may_launch = True

    def succeeded(self, key: str) -> None:
        """Mark a running step as done and release what waited for it."""
        self._leave(key, RunState.DONE)
        for child in self._children[key]:
            self._release(child)

    def fail(self, key: str, message: str) -> list[str]:
        """Mark a running step as failed and all its descendants as blocked; return these."""
        self._leave(key, RunState.FAILED)
        self.failed[key] = message
        return self._block(self._children[key], key)

    def took(self, key: str, seconds: float) -> None:
        """Take in how long a step has taken."""
        if self._speeds is not None:
            self._speeds.observe(self.steps[key], seconds)

    def again(self, key: str) -> list[str]:
        """Put a running or queued step back: it is launched again when its inputs are done.

        If an input failed meanwhile, the step and its descendants are blocked; return these.
        """
        if self._states[key] is RunState.RUNNING:
            self._alone.add(key)
        self._vacate(key)
        self._states[key] = RunState.WAITING
        self._may_launch = True
        return self._wait(key)

    def remake(self, key: str) -> list[str]:
        """Put a done step back, because its artifact is no longer there; see :meth:`again`."""
        if self._states[key] is not RunState.DONE:
            return []
        self.cached.discard(key)
        self._unfinished[self.steps[key].runs_as] += 1
        self._states[key] = RunState.WAITING
        for child in self._children[key]:
            if self._states[child] is RunState.READY:
                self._unready(child)
                self._states[child] = RunState.WAITING
        return self._wait(key)

    # --- inside ---------------------------------------------------------------------------------

    def _first(self, closed: set[Line]) -> Step | None:
        """Return the most urgent ready step whose line is not in ``closed``."""
        heads = [queue[0] for line, queue in self._ready.items() if queue and line not in closed]
        return self.steps[min(heads)[-1]] if heads else None

    def _held(self) -> Iterator[Resources]:
        """Yield what each worker holds."""
        return (slot.resources for slot in dict.fromkeys(self._slots.values()))

    def _batch(self, step: Step, capacity: Capacity, served: int) -> Batch:
        """Return ``step``, the first of its line, with what its worker does besides.

        ``served`` workers have got theirs just now.
        """
        if self._speeds is None or step.runs_as == "trial" or step.key in self._alone:
            return [[step]]
        queue = self._ready[_line(step)]
        slots = capacity.slots(step.resources)
        most = most_steps(len(queue), slots, served, step.resources)
        ready = (self.steps[key] for *_, key in queue if key not in self._alone)
        return plan_batch(ready, most, self._speeds)

    def _trial_allowed(self, step: Step) -> bool:
        if step.runs_as != "trial":
            return True
        trials = sum(self.steps[key].runs_as == "trial" for key in self._running)
        return trials < self._max_trials

    def _start(self, batch: Batch) -> None:
        groups = [[step.key for step in group] for group in batch]
        slot = _Slot(batch[0][0].resources, set(), deque(set(group) for group in groups))
        for key in (key for group in groups for key in group):
            self._unready(key)
            self._states[key] = RunState.QUEUED
            self._slots[key] = slot
        self._begin_next(slot)

    def _begin_next(self, slot: _Slot) -> None:
        """Mark the next group of a worker as running, if there is one."""
        slot.running = slot.queued.popleft() if slot.queued else set()
        for key in sorted(slot.running):
            self._states[key] = RunState.RUNNING
            self._running[key] = None
            self._begun.append(key)

    def _vacate(self, key: str) -> None:
        """Take a step from its worker, which goes on with the next group after the last of one."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        self._running.pop(key, None)
        if key in slot.running:
            slot.running.discard(key)
            if not slot.running:
                self._begin_next(slot)
        else:
            for group in slot.queued:
                group.discard(key)
            slot.queued = deque(group for group in slot.queued if group)

    def _release(self, key: str) -> None:
        if self._states[key] is RunState.WAITING and all(
            self._states[parent] is RunState.DONE for parent in self._inputs[key]
        ):
            self._states[key] = RunState.READY
            queue = self._ready.setdefault(_line(self.steps[key]), [])
            insort(queue, self._priorities[key])
            self._may_launch = True

    def _wait(self, key: str) -> list[str]:
        for parent in self._inputs[key]:
            if self._states[parent] in (RunState.FAILED, RunState.BLOCKED):
                return self._block([key], self.blocked.get(parent, parent))
        self._release(key)
        return []

    def _block(self, keys: Iterable[str], culprit: str) -> list[str]:
        """Block ``keys`` and their descendants, except what is done or running already."""
        blocked: list[str] = []
        reached = list(keys)
        while reached:
            key = reached.pop()
            if self._states[key] in (RunState.WAITING, RunState.READY):
                self._unready(key)
                self._leave(key, RunState.BLOCKED)
                self.blocked[key] = culprit
                blocked.append(key)
                reached.extend(self._children[key])
        return blocked

    def _unready(self, key: str) -> None:
        if self._states[key] is RunState.READY:
            queue = self._ready[_line(self.steps[key])]
            del queue[bisect_left(queue, self._priorities[key])]

    def _leave(self, key: str, state: RunState) -> None:
        self._vacate(key)
        self._states[key] = state
        self._unfinished[self.steps[key].runs_as] -= 1
        self._may_launch = True


def _line(step: Step) -> Line:
    return step.runs_as, step.resources


def _priorities(steps: dict[str, Step], children: dict[str, list[str]]) -> dict[str, Priority]:
    """Return the priority of every step: first what has most work behind it."""
    cost: dict[str, float] = {}
    depth: dict[str, int] = {}
    for key in reversed(steps):
        below = children[key]
        cost[key] = steps[key].cost.operations + max((cost[child] for child in below), default=0.0)
        depth[key] = 1 + max((depth[child] for child in below), default=0)
    alike = {key: step.likeness if step.resources.group > 1 else "" for key, step in steps.items()}
    return {key: (-cost[key], -depth[key], alike[key], key) for key in steps}
