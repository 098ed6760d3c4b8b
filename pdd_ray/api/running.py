"""Planning and running sweeps: ``pdd_ray.plan``, ``pdd_ray.run``, and what they return."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pdd_ray.api.reading import table
from pdd_ray.api.stores import StoreLike, open_store, store_at
from pdd_ray.api.sweeps import Sweep, loaded
from pdd_ray.core import sweep_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from pdd_ray.api.preparing import PreparedRun
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record
    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store
    from pdd_ray.planning.estimate import Machine, RunEstimate
    from pdd_ray.runtime.interface import RunOutcome


@dataclass(frozen=True)
class Plan:
    """What a run would do; printed, it is what ``pdd-ray plan`` shows.

    Attributes:
        prepared: The sweeps with their steps, and what the store has of them.
        cpus: CPUs that estimates assume and a Ray that is started here has; None takes those of
            the machine.
        machine: What else estimates assume.
    """

    prepared: PreparedRun
    cpus: int | None = None
    machine: Machine | None = None

    def __str__(self) -> str:
        from pdd_ray.api.plan_text import plan_lines

        return "\n".join(plan_lines(self.prepared, self._machine()))

    def estimate(
        self,
        *,
        cpus: int | None = None,
        gpus: int | None = None,
        device: str | None = None,
        tf32: bool | None = None,
        price_per_hour: float | None = None,
    ) -> RunEstimate:
        """Return what a run would take; what is not given is as the plan was made for.

        For the arguments see :func:`plan`.

        Raises:
            ConfigError: if the device is unknown.
        """
        from pdd_ray.planning.estimate import estimate

        given = {
            "cpus": cpus,
            "gpus": gpus,
            "device": device,
            "tf32": tf32,
            "price_per_hour": price_per_hour,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        machine = replace(self._machine(), **changes)  # type: ignore[arg-type]
        return estimate(self.missing, self.prepared.store, machine=machine)

    def _machine(self) -> Machine:
        from pdd_ray.planning.estimate import Machine

        return self.machine or Machine(cpus=self.cpus)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, inputs before what reads them."""
        return self.prepared.steps

    @property
    def missing(self) -> tuple[Step, ...]:
        """The steps that a run would do."""
        return self.prepared.missing

    def to_json(self) -> dict[str, Json]:
        """Return what ``pdd-ray plan --json`` shows."""
        from pdd_ray.api.plan_text import plan_as_json

        return plan_as_json(self.prepared, self._machine())

    def run(
        self,
        *,
        serial: bool = False,
        address: str | None = None,
        elastic: bool = False,
        fail_fast: bool = False,
        gpus: int | None = None,
        quiet: bool = False,
    ) -> RunResult:
        """Do what is missing, and return what became of it, failures among it.

        For the arguments see :func:`run`.

        Raises:
            ResourceError: if Ray can't be had, or a step asks for more than it has.
            StoreError: if the store can't be used.
        """
        from pdd_ray.api.preparing import run_and_collect
        from pdd_ray.results.outputs import write_outputs
        from pdd_ray.results.tables import TableData
        from pdd_ray.runtime.display import create_display
        from pdd_ray.runtime.interface import NoDisplay, RunOptions

        prepared = self.prepared
        options = RunOptions(
            address=address,
            elastic=elastic,
            fail_fast=fail_fast,
            max_concurrent_stages=prepared.max_concurrent_stages,
            cpus=self.cpus,
            gpus=gpus,
        )
        display = NoDisplay() if quiet else create_display()
        outcome, finished = run_and_collect(prepared, options, display, serial=serial)
        tables = {
            sweep.name: write_outputs(
                TableData.of(sweep, plan.records, finished[sweep.name]),
                prepared.store,
                pictures=bool(outcome.done),
            )
            for sweep, plan in zip(prepared.collection.sweeps, prepared.plans, strict=True)
        }
        shown = {name: text for name, text in tables.items() if text is not None}
        return RunResult(self, outcome, shown)


@dataclass(frozen=True)
class RunResult:
    """What a run has made; everything is read from the store.

    Attributes:
        plan: What was to be done.
        outcome: What became of every step.
        tables: The table of each sweep with a finished evaluation, as Markdown.
    """

    plan: Plan
    outcome: RunOutcome
    tables: Mapping[str, str]

    def check(self, log_command: str = "pdd-ray logs") -> None:
        """Return if every step is done.

        Args:
            log_command: What shows the log of a step if its label is added.

        Raises:
            StepsFailedError: if steps failed; what did not need them was done.
            InterruptedRunError: if it was stopped; the same run continues.
        """
        from pdd_ray.api.preparing import check_complete

        check_complete(self.outcome, self.plan.prepared, log_command)

    @property
    def name(self) -> str:
        """Name of the sweep, or of the collection of sweeps."""
        return self.plan.prepared.collection.name

    @property
    def single(self) -> bool:
        """Whether it was a sweep by itself, not a collection."""
        return self.plan.prepared.collection.single

    @property
    def sweeps(self) -> tuple[str, ...]:
        """Names of the sweeps."""
        return tuple(sweep.name for sweep in self.plan.prepared.collection.sweeps)

    @property
    def store(self) -> Store:
        """The store."""
        return self.plan.prepared.store

    @property
    def records(self) -> list[Record]:
        """The finished evaluations."""
        from pdd_ray.results.saved_sweeps import read_evaluations

        return [
            record for sweep in self.sweeps for record in read_evaluations(sweep, self.store)[1]
        ]

    def frame(self) -> pd.DataFrame:
        """Return a row per finished evaluation and a column per field, grid axes among them."""
        from pdd_analysis.loading import frame

        return frame(self.records)

    def table(self, **options: Any) -> str:  # noqa: ANN401 - those of `table`
        """Return the table, see :func:`table`."""
        return table(self.name, store=self.store, **options)

    @property
    def folders(self) -> list[Path]:
        """Where table, plot, pictures and records of each sweep are."""
        return [self.store.sweep_folder(sweep) for sweep in self.sweeps]

    @property
    def pictures(self) -> list[Path]:
        """The plots and the pictures of images."""
        found: list[Path] = []
        for folder in self.folders:
            found += [
                *sorted(folder.glob("*.png")),
                *sorted((folder / sweep_files.PICTURES).glob("*.png")),
            ]
        return found


def run(
    sweep: Sweep,
    overrides: Sequence[str] = (),
    *,
    store: StoreLike = None,
    serial: bool = False,
    address: str | None = None,
    elastic: bool = False,
    fail_fast: bool = False,
    cpus: int | None = None,
    gpus: int | None = None,
    quiet: bool = False,
) -> RunResult:
    """Do what is missing of a sweep, as ``pdd-ray run`` does, and return its results.

    Args:
        sweep: The sweep, or a collection of sweeps.
        overrides: ``KEY=VALUE``, see docs/command_line.md.
        store: Where artifacts and results are.
        serial: Do the steps one by one in this process, without Ray.
        address: Ray cluster (``auto`` or ``HOST:PORT``); Ray is started here if not given.
        elastic: The cluster grows on demand: ask for more than it has now.
        fail_fast: Stop at the first failed step.
        cpus: CPUs of the Ray that is started here.
        gpus: GPUs of the Ray that is started here.
        quiet: Show nothing on stderr meanwhile.

    Raises:
        ConfigError: if something in the sweep is wrong; nothing was run.
        ResourceError: if Ray can't be had, or a step asks for more than it has.
        StoreError: if the store can't be used.
        StepsFailedError: if steps failed; what did not need them was done.
        InterruptedRunError: if it was stopped; the same call continues.
    """
    planned = plan(sweep, overrides, store=open_store(store), cpus=cpus)
    result = planned.run(
        serial=serial, address=address, elastic=elastic, fail_fast=fail_fast, gpus=gpus, quiet=quiet
    )
    result.check()
    return result


def plan(
    sweep: Sweep,
    overrides: Sequence[str] = (),
    *,
    store: StoreLike = None,
    cpus: int | None = None,
    gpus: int | None = None,
    device: str | None = None,
    tf32: bool = False,
    price_per_hour: float | None = None,
) -> Plan:
    """Return what a run would do and take, as ``pdd-ray plan`` does; no step is done.

    Args:
        sweep: The sweep, or a collection of sweeps.
        overrides: ``KEY=VALUE``.
        store: Where to look for what is done already; facts of the data are remembered there.
        cpus: CPUs to assume, and to give to a Ray that :meth:`Plan.run` starts.
        gpus: GPUs to assume; one if a step holds one.
        device: GPU to assume for steps that hold one, by name (``H100``), or ``cpu``.
        tf32: Assume that products are computed in TF32 where the GPU has it.
        price_per_hour: Of one GPU; of one CPU if no step computes on a GPU.

    Raises:
        ConfigError: if something in the sweep is wrong, or the device is unknown.
    """
    from pdd_ray.api.preparing import prepare_checked
    from pdd_ray.planning.devices import gpu_named
    from pdd_ray.planning.estimate import Machine

    machine = Machine(cpus, gpus, device, tf32, price_per_hour)
    if device is not None:
        gpu_named(device)
    found = store_at(store)
    return Plan(prepare_checked(loaded(sweep, overrides, found), found), cpus, machine)
