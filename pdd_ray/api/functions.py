"""The command line as functions, for notebooks and programs: ``pdd_ray.run("demo")``.

Each does what the command of its name does, with the same defaults, and returns what the command
shows. What would end a command with an error raises it (``pdd_ray.core.errors``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pdd_ray.api.stores import StoreLike, existing_store, store_at
from pdd_ray.configuration.load import (
    Collection,
    load_collection,
    load_sweep,
    resolved,
    sweep_from,
    sweep_schema,
)
from pdd_ray.configuration.sweep import SweepSpec
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from pdd_ray.api.preparing import PreparedRun
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record
    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store
    from pdd_ray.data.synthetic_set import SyntheticSet
    from pdd_ray.results.saved_sweeps import SweepStatus
    from pdd_ray.runtime.interface import RunOutcome

Sweep: TypeAlias = str | Path | Mapping[str, Any] | SweepSpec
"""A file, a preset, a name in the store, the content of a file, or a sweep that was loaded."""


@dataclass(frozen=True)
class Plan:
    """What a run would do; printed, it is what ``pdd-ray plan`` shows.

    Attributes:
        prepared: The sweeps with their steps, and what the store has of them.
        cpus: CPUs that estimates assume; None takes those of the machine.
    """

    prepared: PreparedRun
    cpus: int | None = None

    def __str__(self) -> str:
        from pdd_ray.api.plan_text import plan_lines

        return "\n".join(plan_lines(self.prepared, self.cpus))

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

        return plan_as_json(self.prepared, self.cpus)


@dataclass(frozen=True)
class RunResult:
    """What a run has made; everything is read from the store.

    Attributes:
        name: Name of the sweep, or of the collection of sweeps.
        sweeps: Names of the sweeps.
        store: The store.
        report: What became of every step.
    """

    name: str
    sweeps: tuple[str, ...]
    store: Store
    report: RunOutcome

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
            found += [*sorted(folder.glob("*.png")), *sorted((folder / "images").glob("*.png"))]
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
    from pdd_ray.api.preparing import check_complete
    from pdd_ray.api.preparing import run as run_prepared
    from pdd_ray.results.outputs import write_outputs
    from pdd_ray.runtime.display import create_display
    from pdd_ray.runtime.interface import NoDisplay, RunOptions

    prepared = _prepare(sweep, overrides, store_at(store).open())
    options = RunOptions(
        address=address,
        elastic=elastic,
        fail_fast=fail_fast,
        max_concurrent_stages=prepared.max_concurrent_stages,
        cpus=cpus,
        gpus=gpus,
    )
    display = NoDisplay() if quiet else create_display()
    report = run_prepared(prepared, options, display, serial=serial)
    for planned in prepared.plans:
        write_outputs(planned.sweep, prepared.store, pictures=bool(report.done))
    check_complete(report, prepared)
    names = tuple(planned.sweep.name for planned in prepared.plans)
    return RunResult(prepared.collection.name, names, prepared.store, report)


def plan(
    sweep: Sweep,
    overrides: Sequence[str] = (),
    *,
    store: StoreLike = None,
    cpus: int | None = None,
) -> Plan:
    """Return what a run would do and take, as ``pdd-ray plan`` does; no step is done.

    Args:
        sweep: The sweep, or a collection of sweeps.
        overrides: ``KEY=VALUE``.
        store: Where to look for what is done already; facts of the data are remembered there.
        cpus: CPUs to assume.

    Raises:
        ConfigError: if something in the sweep is wrong.
    """
    return Plan(_prepare(sweep, overrides, store_at(store)), cpus)


def status(sweep: Sweep | None = None, *, store: StoreLike = None) -> list[SweepStatus]:
    """Return how far sweeps of the store are, as ``pdd-ray status`` does.

    Args:
        sweep: A sweep, or a collection of sweeps; all of the store if not given.
        store: The store.

    Raises:
        ConfigError: if the sweep was not run on the store.
        StoreError: if there is no store, or it can't be read.
    """
    from pdd_ray.results.saved_sweeps import read_status

    opened = existing_store(store)
    names = opened.sweep_names() if sweep is None else _saved_names(sweep, opened)
    return [read_status(name, opened) for name in names]


def logs(step: str, *, store: StoreLike = None) -> str:
    """Return the log of a step, as ``pdd-ray logs`` does; empty if it has not been started.

    Args:
        step: Its label or key, or the beginning of either.
        store: The store.

    Raises:
        ConfigError: if no step, or more than one, is called so.
        StoreError: if there is no store.
    """
    from pdd_ray.results.saved_sweeps import find_step

    opened = existing_store(store)
    path = opened.log_path(find_step(step, opened).key)
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def table(
    sweep: Sweep,
    *,
    store: StoreLike = None,
    form: str = "md",
    compare: str | None = None,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    baseline: str | None = None,
    choose: Sequence[str] | None = None,
) -> str:
    """Return the table of a sweep, or those of a collection, as ``pdd-ray table`` does.

    ``pdd_analysis.load`` and ``pdd_analysis.frame`` give the numbers instead of text.

    Args:
        sweep: A sweep, or a collection of sweeps.
        store: The store.
        form: ``md``, ``csv``, ``latex``, ``html`` or ``json``.
        compare: A ready-made table instead of the sweep's: ``modes``, ``growth`` or ``stages``.
        rows: Record fields or grid axes that make the rows, instead of the sweep's.
        columns: The same for the columns.
        baseline: Variant to which paired differences are given.
        choose: Grid axes of which every row shows the value with the best validation accuracy.

    Raises:
        ConfigError: if the sweep was not run on the store, or has no such table.
        StoreError: if there is no store, or it can't be read.
    """
    from pdd_ray.results.outputs import COMPARISONS, Pivot, collection_text

    if compare is not None and compare not in COMPARISONS:
        raise ConfigError(f"no ready-made table {compare!r}; there is {', '.join(COMPARISONS)}")
    pivot = Pivot(_names(rows), _names(columns), baseline, _names(choose))
    if compare is not None and pivot != Pivot():
        msg = "compare is a table by itself: not with rows, columns, baseline or choose"
        raise ConfigError(msg)
    opened = existing_store(store)
    return collection_text(_saved(sweep, opened), opened, form, compare, pivot)


def plots(
    sweep: Sweep,
    *,
    store: StoreLike = None,
    kinds: Sequence[str] = (),
    form: str = "png",
    output: str | Path | None = None,
) -> list[Path]:
    """Draw the plots of a sweep as ``pdd-ray plot`` does, and return where.

    Args:
        sweep: A sweep, or a collection of sweeps.
        store: The store.
        kinds: Names of ``pdd_analysis.plots.KINDS``; all that there are results for if not given.
        form: ``png`` or ``svg``.
        output: Folder to write to instead of the sweep's; of a collection, one for each below it.

    Raises:
        ConfigError: if the sweep was not run on the store, or has nothing of a kind asked for.
        StoreError: if there is no store, or it can't be read.
    """
    from pdd_ray.results.plotting import plot_files, plot_folder

    opened = existing_store(store)
    found = _saved(sweep, opened)
    base = None if output is None else Path(output)
    return [
        path
        for each in found.sweeps
        for path in plot_files(
            each.name, opened, plot_folder(each.name, found, opened, base), form, kinds
        )
    ]


def pictures(
    sweep: Sweep,
    *,
    store: StoreLike = None,
    all_seeds: bool = False,
    stages: Sequence[int] = (),
    classes: Sequence[int] = (),
) -> list[Path]:
    """Write pictures of distilled images as ``pdd-ray images`` does, and return where.

    Args:
        sweep: A sweep, or a collection of sweeps.
        store: The store.
        all_seeds: A picture of every seed, not of the first one only.
        stages: Stages to show, 1-based; all that are finished if not given.
        classes: Labels of the classes to show, from 0; all if not given.

    Raises:
        ConfigError: if the sweep was not run on the store.
        StoreError: if there is no store, or it can't be read.
    """
    from pdd_ray.results.outputs import write_pictures

    opened = existing_store(store)
    return [
        path
        for name in _saved_names(sweep, opened)
        for path in write_pictures(
            name, opened, all_seeds=all_seeds, stages=stages, classes=classes
        )
    ]


def write_report(
    sweep: Sweep, *, store: StoreLike = None, output: str | Path | None = None
) -> list[Path]:
    """Write one HTML page about a sweep as ``pdd-ray report`` does, and return where.

    Args:
        sweep: A sweep; or a collection, for which there is a page that leads to the others.
        store: The store.
        output: File to write instead of ``report.html`` in the sweep's folder; the folder of the
            pages for a collection.

    Raises:
        ConfigError: if the sweep was not run on the store.
        StoreError: if there is no store, or it can't be read.
    """
    from pdd_ray.results.report.page import write_report as write_page
    from pdd_ray.results.report.page import write_reports

    opened = existing_store(store)
    found = _saved(sweep, opened)
    path = None if output is None else Path(output).expanduser()
    if found.single:
        return [write_page(found.sweeps[0], opened, path)]
    return write_reports(found, opened, path)


def config(
    sweep: Sweep, overrides: Sequence[str] = (), *, store: StoreLike = None
) -> dict[str, Json]:
    """Return a sweep with all its defaults, as ``pdd-ray config show`` does; it is one itself.

    Args:
        sweep: The sweep.
        overrides: ``KEY=VALUE``.
        store: Where else to look for its name.

    Raises:
        ConfigError: if something in the sweep is wrong.
    """
    if isinstance(sweep, SweepSpec | Mapping):
        return resolved(sweep_from(_content(sweep), overrides))
    return resolved(load_sweep(str(sweep), overrides, store_at(store)))


def schema() -> dict[str, Any]:
    """Return the JSON schema of sweep files, as ``pdd-ray config schema`` does."""
    return sweep_schema()


def load_set(source: str | Path, *, store: StoreLike = None) -> SyntheticSet:
    """Return a distilled set, the images of a stage and of all before it.

    Args:
        source: A folder with ``synthetic.safetensors``, or that file; or the label or key of a
            stage in the store (``pdd/seed0/stage2``), or the beginning of either.
        store: The store.

    Raises:
        ConfigError: if no stage, or more than one, is called so, or it is not finished.
        FormatError: if the file is not a distilled set of this version.
        StoreError: if there is no store.
    """
    from pdd_ray.core.artifact_files import SYNTHETIC_SET
    from pdd_ray.data.synthetic_set import load_synthetic_set
    from pdd_ray.results.saved_sweeps import find_step

    path = Path(source).expanduser()
    if path.name == SYNTHETIC_SET:
        return load_synthetic_set(path.parent)
    if path.is_dir():
        return load_synthetic_set(path)
    opened = existing_store(store)
    step = find_step(str(source), opened)
    folder = opened.folder(step.key)
    if not opened.exists(step.key):
        msg = f"{step.label} is not finished yet; `pdd-ray status` tells how far its sweep is"
        raise ConfigError(msg)
    if not (folder / SYNTHETIC_SET).is_file():
        msg = f"{step.label} ({step.kind}) makes no images; stages do: pdd/seed0/stage2"
        raise ConfigError(msg)
    return load_synthetic_set(folder)


def _prepare(sweep: Sweep, overrides: Sequence[str], store: Store) -> PreparedRun:
    from pdd_ray.api.preparing import prepare_checked

    return prepare_checked(_load(sweep, overrides, store), store)


def _load(sweep: Sweep, overrides: Sequence[str], store: Store) -> Collection:
    if isinstance(sweep, SweepSpec | Mapping):
        return Collection.of(sweep_from(_content(sweep), overrides))
    return load_collection(str(sweep), overrides, store)


def _content(sweep: SweepSpec | Mapping[str, Any]) -> Mapping[str, Any]:
    return resolved(sweep) if isinstance(sweep, SweepSpec) else sweep


def _saved_names(sweep: Sweep, store: Store) -> list[str]:
    """Return the names of the sweeps that ``sweep`` consists of, which were run on ``store``."""
    return [each.name for each in _saved(sweep, store).sweeps]


def _saved(sweep: Sweep, store: Store) -> Collection:
    from pdd_ray.results.saved_sweeps import find_saved_collection

    if isinstance(sweep, Mapping):
        sweep = str(sweep.get("name"))
    name = sweep.name if isinstance(sweep, SweepSpec) else str(sweep)
    return find_saved_collection(name, store)


def _names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
