"""From loaded sweeps to the steps that are to be done, and to their records.

What :mod:`pdd_ray.api.running` is made of::

    store = Store("pdd-ray-store").open()
    prepared = prepare(load_sweep("demo"), store)
    outcome = run(prepared, RunOptions())
    records = collect_records(prepared.plans[0], store)
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from pdd_ray.configuration.load import Collection
from pdd_ray.core import sweep_files
from pdd_ray.core.artifacts import Artifacts
from pdd_ray.core.compilers import find_compiler
from pdd_ray.core.errors import (
    DamagedArtifactError,
    DataError,
    InterruptedRunError,
    ResourceError,
    StepsFailedError,
)
from pdd_ray.core.records import write_records
from pdd_ray.core.steps import Step, execute, one_line, topological
from pdd_ray.planning.compiling import is_compiled
from pdd_ray.planning.sweep_plan import SweepPlan, plan_sweep
from pdd_ray.results.finished_records import collect_records
from pdd_ray.results.saved_sweeps import save_collection, save_plan
from pdd_ray.runtime.interface import NoDisplay, RunOptions, RunOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdd_ray.configuration.expand import LoadedSweep
    from pdd_ray.core.records import Record
    from pdd_ray.core.store import Store
    from pdd_ray.data.facts import DataFacts
    from pdd_ray.data.spec import DataSpec
    from pdd_ray.runtime.interface import Display


@dataclass(frozen=True)
class PreparedRun:
    """One or several sweeps, planned, with what their store already has.

    Attributes:
        collection: The sweeps.
        plans: The plan of each.
        steps: The steps of all of them, each once, inputs before what reads them.
        artifacts: What was read of the store's artifacts.
        cached: Keys of steps whose artifacts exist and are whole.
        damaged: Why an artifact is not what was committed, by key; it has to be made again.
        absent: Why data sets can't be read of which only what is published is known: the sweeps
            are planned, and can't be run.
    """

    collection: Collection
    plans: tuple[SweepPlan, ...]
    steps: tuple[Step, ...]
    artifacts: Artifacts
    cached: frozenset[str]
    damaged: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    @property
    def store(self) -> Store:
        """The store."""
        return self.artifacts.store

    @property
    def experiments(self) -> int:
        """Number of experiments."""
        return sum(len(sweep.experiments) for sweep in self.collection.sweeps)

    @cached_property
    def missing(self) -> tuple[Step, ...]:
        """The steps that are to be done, inputs before what reads them."""
        return tuple(step for step in self.steps if step.key not in self.cached)

    @property
    def max_concurrent_stages(self) -> int:
        """Most stage trials at the same time."""
        return max(plan.sweep.resources.max_concurrent_stages for plan in self.plans)


def prepare(sweeps: LoadedSweep | Collection, store: Store) -> PreparedRun:
    """Return a sweep, or a collection of them, with plans and what ``store`` already has of it.

    Raises:
        ConfigError: if a sweep can't be carried out.
        DataError: if a data set can't be read.
    """
    absent: list[str] = []

    @cache
    def facts(spec: DataSpec) -> DataFacts:
        from pdd_ray.data.facts import read_or_known_facts

        found = read_or_known_facts(spec, store.facts)
        if found.absent and found.absent not in absent:
            absent.append(found.absent)
        return found

    if not isinstance(sweeps, Collection):
        sweeps = Collection.of(sweeps)
    plans = tuple(plan_sweep(one.spec, one.experiments, facts) for one in sweeps.sweeps)
    steps = tuple(topological(step for plan in plans for step in plan.steps))
    artifacts = Artifacts(store)
    cached, damaged = _look_up(steps, artifacts)
    return PreparedRun(sweeps, plans, steps, artifacts, cached, damaged, tuple(absent))


def prepare_checked(sweeps: Collection, store: Store) -> PreparedRun:
    """Return ``sweeps`` planned on ``store``, their tables checked.

    Raises:
        ConfigError: if a sweep can't be carried out, or its table can't be made.
        DataError: if a data set can't be read.
    """
    from pdd_ray.results.tables import check_table

    prepared = prepare(sweeps, store)
    for sweep, plan in zip(sweeps.sweeps, prepared.plans, strict=True):
        check_table(sweep, plan)
    return prepared


def run(
    prepared: PreparedRun,
    options: RunOptions | None = None,
    display: Display | None = None,
    *,
    serial: bool = False,
) -> RunOutcome:
    """Do what is missing, write the records of what is finished, and return what became of it.

    Damaged artifacts are set aside first. Neither Ray nor torch is imported if nothing is missing.

    Args:
        prepared: What is to be done.
        options: How Ray is used; on this machine if not given.
        display: Who is told what happens.
        serial: Do the steps one after the other in this process, and end at the first error.

    Raises:
        DataError: if a data set was planned with and is not there.
        ResourceError: if Ray can't be had, or a step asks for more than it has.
        StoreError: if the store can't be used.
    """
    return run_and_collect(prepared, options, display, serial=serial)[0]


def run_and_collect(
    prepared: PreparedRun,
    options: RunOptions | None = None,
    display: Display | None = None,
    *,
    serial: bool = False,
) -> tuple[RunOutcome, dict[str, list[Record]]]:
    """Do what :func:`run` does, and return the records of each sweep too, by its name."""
    options = options or RunOptions()
    if prepared.absent:
        raise DataError(prepared.absent[0])
    if serial or (options.address is None and "RAY_ADDRESS" not in os.environ):
        _check_compiler(prepared.missing)
    store = prepared.store.open()
    for key in prepared.damaged:
        store.set_aside(key)
    for plan in prepared.plans:
        save_plan(plan, store)
    save_collection(prepared.collection, store)
    outcome = _execute(prepared, options, display or NoDisplay(), serial=serial)
    # what was read before holds as long as nothing was made or set aside since
    unchanged = not prepared.missing
    artifacts = prepared.artifacts if unchanged else Artifacts(store)
    records: dict[str, list[Record]] = {}
    for plan in prepared.plans:
        found = collect_records(plan, store, artifacts)
        write_records(store.sweep_folder(plan.sweep.name) / sweep_files.RECORDS, found)
        records[plan.sweep.name] = found
    return outcome, records


def _check_compiler(steps: Sequence[Step]) -> None:
    """Refuse now what steps would refuse later, perhaps after hours of other steps.

    Raises:
        ResourceError: if one of ``steps`` compiles code, and this machine has no compiler.
    """
    compiled = next((step for step in steps if is_compiled(step)), None)
    if compiled is not None and find_compiler() is None:
        msg = (
            f"{compiled.label} uses torch.compile, and this machine has no C++ compiler; install "
            "g++, name one in CXX, or set method.compile and experts.compile to false"
        )
        raise ResourceError(msg)


def check_complete(
    outcome: RunOutcome, prepared: PreparedRun, log_command: str = "pdd-ray logs"
) -> None:
    """Return if every step is done.

    Args:
        outcome: What became of the steps.
        prepared: The sweep.
        log_command: What shows the log of a step if its label is added.

    Raises:
        StepsFailedError: with one line per failed step.
        InterruptedRunError: if the run was stopped.
    """
    if outcome.failed:
        lines = _failure_lines(outcome, prepared.steps, log_command)
        raise StepsFailedError("\n".join(lines))
    if outcome.interrupted or not outcome.complete:
        done = len(prepared.steps) - len(outcome.left)
        msg = (
            f"stopped with {done} of {len(prepared.steps)} steps done; "
            "run the same command again to continue"
        )
        raise InterruptedRunError(msg)


def _look_up(steps: Iterable[Step], artifacts: Artifacts) -> tuple[frozenset[str], dict[str, str]]:
    cached: set[str] = set()
    damaged: dict[str, str] = {}
    for step in steps:
        try:
            if artifacts.is_whole(step.key):
                cached.add(step.key)
        except DamagedArtifactError as error:
            damaged[step.key] = str(error)
    return frozenset(cached), damaged


def _execute(
    prepared: PreparedRun, options: RunOptions, display: Display, *, serial: bool
) -> RunOutcome:
    if not prepared.missing:
        return RunOutcome(cached=tuple(step.key for step in prepared.steps))
    if serial:
        return _run_in_this_process(prepared, display)
    from pdd_ray.runtime.run import run_on_ray

    return run_on_ray(prepared.steps, prepared.store, options, display)


def _run_in_this_process(prepared: PreparedRun, display: Display) -> RunOutcome:
    """Execute the missing steps like :func:`pdd_ray.core.steps.run_serially`, but shown."""
    started = time.monotonic()
    waiting = list(prepared.missing)
    done: list[str] = []
    failed: dict[str, str] = {}
    interrupted = False
    display.begin(prepared.steps, prepared.cached)
    try:
        while waiting and not failed:
            step = waiting[0]
            message = _execute_shown(step, prepared.store, display)
            if message is None:
                done.append(waiting.pop(0).key)
            else:
                failed[waiting.pop(0).key] = message
    except KeyboardInterrupt:
        interrupted = True
    finally:
        display.end()
    return RunOutcome(
        done=tuple(done),
        cached=tuple(prepared.cached),
        failed=failed,
        left=tuple(step.key for step in waiting),
        interrupted=interrupted,
        seconds=time.monotonic() - started,
    )


def _execute_shown(step: Step, store: Store, display: Display) -> str | None:
    """Execute ``step``; return why it failed, if it did."""
    started = time.monotonic()
    display.started(step)
    try:
        execute(step.call, store, lambda progress: display.progress(step, progress))
    except Exception as error:  # noqa: BLE001 - every error of a step is reported as its failure
        display.failed(step, one_line(error), ())
        return one_line(error)
    display.finished(step, time.monotonic() - started)
    return None


def _failure_lines(outcome: RunOutcome, steps: tuple[Step, ...], log_command: str) -> list[str]:
    labels = {step.key: step.label for step in steps}
    failed = f"{len(outcome.failed)} step{'s' if len(outcome.failed) > 1 else ''} failed"
    lines = [
        f"{failed}, {len(outcome.blocked)} need what failed, {len(outcome.left)} were not tried"
    ]
    for key, message in outcome.failed.items():
        lines.append(f"  {labels[key]}: {message}  ({log_command} {labels[key]})")
    lines.append("run the same command again to try them again")
    return lines
