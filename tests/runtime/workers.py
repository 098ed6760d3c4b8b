"""Workers without Ray: steps end when their test says so, on a clock that only waiting moves."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING

from pdd_ray.core.steps import no_progress
from pdd_ray.runtime.capacity import FixedCapacity, Node
from pdd_ray.runtime.driver import Driver
from pdd_ray.runtime.interface import NoDisplay, RunOptions
from pdd_ray.runtime.interrupts import Interrupts
from pdd_ray.runtime.run import outcome
from pdd_ray.runtime.scheduler import Scheduler
from pdd_ray.runtime.supervisor import drive
from pdd_ray.runtime.worker import StepOutcome, execute_and_tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store
    from pdd_ray.runtime.batches import Batch, Speeds
    from pdd_ray.runtime.interface import Display, RunOutcome
    from pdd_ray.runtime.searcher import StageSearcher
    from pdd_ray.runtime.supervisor import Fit

    Turn = Callable[["Workers", Step], StepOutcome | str | None]
    """What a step does in its turn: end with an outcome, die (a reason), or go on (None)."""

TWO_CPUS = FixedCapacity((Node(cpus=2),))
MOST_WAITS = 20_000
"""Waits of a driver after which its test has failed rather than goes on for ever."""


def executes(workers: Workers, step: Step) -> StepOutcome:
    """Execute the step here, as a worker of Ray does."""
    return execute_and_tell(step.call, str(workers.store.root), no_progress)


def dies(_workers: Workers, _step: Step) -> str:
    """Die without having done anything."""
    return "WorkerCrashedError"


def dies_after_its_work(workers: Workers, step: Step) -> str:
    """Die when the artifact is committed, before that could be told."""
    executes(workers, step)
    return "WorkerCrashedError"


def saves(name: str, content: str) -> Turn:
    """Return the turn that saves progress, and goes on."""

    def turn(workers: Workers, step: Step) -> None:
        (workers.store.partial(step.key) / name).write_text(content)

    return turn


def reports(**progress: float) -> Turn:
    """Return the turn that leaves a report where workers leave theirs, and goes on."""

    def turn(workers: Workers, step: Step) -> None:
        path = workers.store.progress_path(step.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(progress))

    return turn


def goes_on(_workers: Workers, _step: Step) -> None:
    """Do nothing that anybody sees."""


def interrupts(workers: Workers, _step: Step) -> None:
    """Go on, while the user presses Ctrl-C."""
    workers.interrupts.requested = True


class Workers:
    """In Ray's place: the tasks, Tune's trials, the cluster's capacity, the clock, Ctrl-C.

    Whenever the driver waits, time passes, and one of the running steps has its turn. What it
    does is next in its script; after its script, and without one, it executes the step. Nothing
    starts here before its inputs are committed, twice at a time, or where there is no room. The
    steps of a batch run one after the other, until one of them dies.

    Args:
        store: Where the steps are executed.
        scripts: Turns by label.
        choose: Which of so many running steps, the earliest first, has its turn.

    Attributes:
        now: The time [s]; the object itself is called for it as a clock.
        cluster: What there is; a test may change it while a step has its turn.
        running: The running steps by key.
        interrupts: What the driver looks at for Ctrl-C.
        killed: Labels of the tasks that were ended by force.
        most: Most steps that ran at the same time.
        batches: Labels of the steps of each task, in the order of launching.
    """

    def __init__(
        self,
        store: Store,
        scripts: Mapping[str, Sequence[Turn]] | None = None,
        choose: Callable[[int], int] = lambda _running: 0,
    ) -> None:
        self.store = store
        self.now = 0.0
        self.cluster = TWO_CPUS
        self.running: dict[str, Step] = {}
        self.interrupts = Interrupts()
        self.killed: list[str] = []
        self.most = 0
        self.batches: list[list[str]] = []
        self._scripts = {label: list(turns) for label, turns in (scripts or {}).items()}
        self._choose = choose
        self._ended: dict[str, StepOutcome | str] = {}
        self._tasks: set[str] = set()
        self._behind: dict[str, list[Step]] = {}
        self._waits = 0

    def __call__(self) -> float:
        return self.now

    # --- what the driver calls: Tasks -----

    def launch(self, batch: Batch) -> None:
        first, *behind = chain.from_iterable(batch)
        self.batches.append([first.label, *(step.label for step in behind)])
        self._tasks |= {first.key, *(step.key for step in behind)}
        self._behind[first.key] = behind
        self._start(first)

    def finished(self) -> Iterator[tuple[str, StepOutcome | str]]:
        for key in [key for key in self._ended if key in self._tasks]:
            ended, behind = self._ended.pop(key), self._behind.pop(key)
            if isinstance(ended, str):
                self._tasks -= {step.key for step in behind}
                yield from ((step.key, StepOutcome("left")) for step in behind)
            elif behind:
                self._behind[behind[0].key] = behind[1:]
                self._start(behind[0])
            self._tasks.discard(key)
            yield key, ended

    def wait(self, seconds: float) -> None:
        self._waits += 1
        assert self._waits < MOST_WAITS, "the driver waits for ever"
        self.now += seconds
        if self.running:
            key = list(self.running)[self._choose(len(self.running))]
            step = self.running.pop(key)
            ended = self._turn_of(step)(self, step)
            if ended is None:
                self.running[key] = step  # behind the others
            else:
                self._ended[key] = ended

    def kill(self) -> None:
        self.killed += [self.running.pop(key).label for key in self._tasks & set(self.running)]

    # --- in Tune's place -----

    def fit(self, driver: Driver, searcher: StageSearcher) -> None:
        """Run what ``searcher`` suggests, and tell it how that ended."""
        live: dict[str, str] = {}
        number = 0
        while (config := searcher.suggest(str(number))) != searcher.FINISHED:
            if isinstance(config, dict):
                live[str(config["key"])] = str(number)
                self._start(driver.scheduler.steps[str(config["key"])])
                number += 1
            else:
                self.wait(0.1)
            for key in [key for key in live if key in self._ended]:
                self._tell(searcher, live.pop(key), self._ended.pop(key))

    def _tell(self, searcher: StageSearcher, trial: str, ended: StepOutcome | str) -> None:
        if isinstance(ended, str):
            searcher.on_trial_complete(trial, error=True)
        else:
            searcher.on_trial_complete(trial, ended.to_json())

    # --- inside -----

    def _start(self, step: Step) -> None:
        assert all(self.store.exists(parent.key) for parent in step.inputs.values()), step.label
        assert step.key not in self.running, step.label
        free = self.cluster.packing(other.resources for other in self.running.values())
        assert free.place(step.resources), step.label
        self.running[step.key] = step
        self.most = max(self.most, len(self.running))

    def _turn_of(self, step: Step) -> Turn:
        script = self._scripts.get(step.label)
        return script.pop(0) if script else executes


def run_here(
    steps: Sequence[Step],
    workers: Workers,
    display: Display | None = None,
    options: RunOptions | None = None,
    fit: Fit | None = None,
    speeds: Speeds | None = None,
) -> RunOutcome:
    """Do what :func:`pdd_ray.runtime.run.run_on_ray` does, with ``workers`` for Ray.

    Trials are run by ``fit``, or else by the workers. Steps are batched where ``speeds`` are given.
    """
    options = options or RunOptions()
    scheduler = Scheduler(
        steps, workers.store.exists, max_trials=options.max_concurrent_stages, speeds=speeds
    )
    driver = Driver(
        scheduler,
        workers.store,
        tasks=workers,
        capacity=lambda: workers.cluster,
        options=options,
        display=display or NoDisplay(),
        interrupts=workers.interrupts,
        clock=workers,
    )
    drive(driver, fit or workers.fit)
    return outcome(scheduler, workers.interrupts.requested, workers.now)
