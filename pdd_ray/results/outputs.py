"""What a sweep shows: its table, its plot and its pictures, made from the store alone."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdd_analysis import layouts
from pdd_analysis.rendering import render
from pdd_ray.configuration.expand import BASE_VARIANT
from pdd_ray.configuration.sweep import TableSpec
from pdd_ray.core import artifact_files
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.files import write_text
from pdd_ray.data.set_header import class_names
from pdd_ray.planning.sweep_plan import planned_records
from pdd_ray.results.paper_settings import published_beside
from pdd_ray.results.saved_sweeps import read_evaluations, read_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pdd_analysis.cells import Table
    from pdd_ray.configuration.load import Collection
    from pdd_ray.configuration.sweep import SweepSpec
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record
    from pdd_ray.core.store import Store
    from pdd_ray.planning.sweep_plan import SweepPlan
    from pdd_ray.results.saved_sweeps import SavedStep

COMPARISONS = layouts.COMPARISONS
"""Ready-made tables by name, besides the one that a sweep describes."""


@dataclass(frozen=True)
class Pivot:
    """A table other than the sweep's own; what is None stays as it is.

    Attributes:
        rows: Record fields or grid axes that make the rows.
        columns: Record fields or grid axes that make the columns.
        baseline: Variant to which paired differences are given.
        choose: Grid axes whose best value by validation accuracy is kept.
    """

    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    baseline: str | None = None
    choose: tuple[str, ...] | None = None


def table_text(
    sweep: SweepSpec,
    store: Store,
    form: str = "md",
    comparison: str | None = None,
    pivot: Pivot | None = None,
) -> str:
    """Return a table of ``sweep``, which was run on ``store``, as text.

    Args:
        sweep: The sweep.
        store: The store.
        form: ``md``, ``csv``, ``latex``, ``html`` or ``json``.
        comparison: A name of :data:`COMPARISONS`; the sweep's own table if not given.
        pivot: Changes of the sweep's own table.

    Raises:
        ConfigError: for another form, or for table fields that the records don't have.
        StoreError: if the evaluations can't be read.
    """
    planned, finished = read_evaluations(sweep.name, store)
    if comparison is None:
        return render(_make_table(sweep, planned, finished, pivot or Pivot()), form)
    table = layouts.lay_out(
        COMPARISONS[comparison],
        finished,
        choose=_chosen(sweep),
        planned=planned,
        order=_orders(sweep, planned),
        published=published_beside(sweep),
    )
    return render(table, form)


def tables_text(
    sweeps: Sequence[SweepSpec],
    store: Store,
    form: str = "md",
    comparison: str | None = None,
    pivot: Pivot | None = None,
) -> str:
    """Return the tables of several sweeps as one text, each under the name of its sweep.

    As JSON: an object with the tables by name. For the arguments see :func:`table_text`.

    Raises:
        ConfigError: as :func:`table_text` does, and for ``csv``.
        StoreError: if the evaluations can't be read.
    """
    if form == "csv":
        names = ", ".join(sweep.name for sweep in sweeps)
        msg = f"tables of several sweeps don't fit in one csv; ask for one sweep of {names}"
        raise ConfigError(msg)
    texts = {sweep.name: table_text(sweep, store, form, comparison, pivot) for sweep in sweeps}
    if form == "json":
        tables = {name: json.loads(text) for name, text in texts.items()}
        content = {"schema": "pdd-ray/tables/1", "tables": tables}
        return json.dumps(content, indent=1, sort_keys=True) + "\n"
    return "\n".join(f"{_heading(name, form)}\n\n{text}" for name, text in texts.items())


def collection_text(
    found: Collection,
    store: Store,
    form: str = "md",
    comparison: str | None = None,
    pivot: Pivot | None = None,
) -> str:
    """Return the table of a sweep, or the tables of a collection; see :func:`table_text`."""
    if found.single:
        return table_text(found.sweeps[0], store, form, comparison, pivot)
    return tables_text(found.sweeps, store, form, comparison, pivot)


def _heading(name: str, form: str) -> str:
    """Return the name of a sweep as a heading; of marks that need care it can have ``_`` only."""
    if form == "latex":
        escaped = name.replace("_", r"\_")
        return rf"\section*{{{escaped}}}"
    return f"<h2>{name}</h2>" if form == "html" else f"## {name}"


def _make_table(
    sweep: SweepSpec, planned: Sequence[Record], finished: Sequence[Record], pivot: Pivot
) -> Table:
    layout = _layout(sweep, pivot)
    _check_baseline(sweep, pivot.baseline, "baseline")
    if pivot.choose is not None:
        _check_axes(pivot.choose, planned)
    # an axis that the pivot shows is not chosen
    shown = (*(pivot.rows or ()), *(pivot.columns or ()))
    chosen = pivot.choose
    if chosen is None:
        chosen = tuple(axis for axis in _chosen(sweep) or () if axis not in shown)
    return layouts.lay_out(
        layout,
        finished,
        baseline=pivot.baseline or sweep.table.baseline,
        choose=chosen or None,
        planned=planned,
        order=_orders(sweep, planned),
        published=published_beside(sweep),
    )


def _layout(sweep: SweepSpec, pivot: Pivot) -> layouts.Layout:
    """Return the layout of the paper's table if the sweep gives none itself, changed by ``pivot``.

    Raises:
        ConfigError: if the paper has no such table.
    """
    usual = TableSpec()
    layout = layouts.Layout(sweep.table.rows, sweep.table.columns)
    if sweep.paper is not None:
        of_paper = layouts.layout_of(sweep.paper)
        own = (layout.rows, layout.columns) != (usual.rows, usual.columns)
        layout = replace(layout, title=of_paper.title) if own else of_paper
    if pivot.rows is None and pivot.columns is None:
        return layout
    rows = layout.rows if pivot.rows is None else pivot.rows
    columns = layout.columns if pivot.columns is None else pivot.columns
    return layouts.Layout(rows, columns)


def _chosen(sweep: SweepSpec) -> tuple[str, ...] | None:
    return sweep.table.choose.over if sweep.table.choose else None


def check_table(plan: SweepPlan) -> None:
    """Check, before anything is run, that the table of a sweep can be made.

    Raises:
        ConfigError: for table fields that its records won't have, a table that the paper does not
            have, or a reference that is no preset.
    """
    _check_baseline(plan.sweep, plan.sweep.table.baseline, "table.baseline")
    _make_table(plan.sweep, planned_records(plan), (), Pivot())


def _check_baseline(sweep: SweepSpec, baseline: str | None, key: str) -> None:
    if baseline is not None and baseline not in (sweep.variants or {BASE_VARIANT: {}}):
        variants = ", ".join(sweep.variants) or BASE_VARIANT
        raise ConfigError(f"{key} {baseline!r} is not a variant; there is {variants}")


def _check_axes(chosen: Iterable[str], planned: Iterable[Record]) -> None:
    axes = dict.fromkeys(axis for record in planned for axis in record.axes)
    for name in chosen:
        if name not in axes:
            msg = f"choose {name!r} is not a grid axis; there is {', '.join(axes) or 'none'}"
            raise ConfigError(msg)


def write_outputs(sweep: SweepSpec, store: Store, *, pictures: bool = True) -> str | None:
    """Write the table, the plot and the pictures of ``sweep``.

    Returns:
        The table as Markdown, None as long as no evaluation is finished.

    Args:
        sweep: The sweep.
        store: The store it was run on.
        pictures: Write the plot and the pictures again even if they are there.

    Raises:
        ConfigError: if the records don't have the fields of the table.
        StoreError: if the evaluations can't be read.
    """
    folder = store.sweep_folder(sweep.name)
    planned, finished = read_evaluations(sweep.name, store)
    text = render(_make_table(sweep, planned, finished, Pivot()), "md")
    write_text(folder / "table.md", text)
    plot = folder / "accuracy.png"
    several = len({record.stages for record in planned if record.phase == 0}) > 1
    if finished and several and (pictures or not plot.exists()):
        write_plot(finished, plot)
    if pictures or not (folder / "images").exists():
        write_pictures(sweep.name, store)
    return text if finished else None


def write_plot(records: Iterable[Record], path: Path) -> Path:
    """Draw accuracy against the number of stages to ``path``, and return ``path``."""
    from pdd_analysis.plots import accuracy_per_stage

    return accuracy_per_stage(records, path)


def write_pictures(
    sweep: str,
    store: Store,
    *,
    all_seeds: bool = False,
    stages: Sequence[int] = (),
    classes: Sequence[int] = (),
) -> list[Path]:
    """Write one picture per experiment, its stages side by side, and return where.

    In continual learning there is one per phase.

    Args:
        sweep: Name of a sweep that was run on ``store``.
        store: The store.
        all_seeds: One picture per seed, instead of the first seed of each setting only.
        stages: Stages to show, 1-based; all that are finished if not given.
        classes: Labels of the classes to show (of a phase, in continual learning); all if not
            given.

    Raises:
        ConfigError: for a class that there is not.
        StoreError: if the steps or a stage's picture can't be read.
    """
    steps = {step.key: step for step in read_steps(sweep, store)}
    planned, _ = read_evaluations(sweep, store)
    paths = []
    for name, last in _last_stages(planned, all_seeds=all_seeds).items():
        chain = dict(enumerate(_finished_chain(last, steps, store), start=1))
        shown = {number: step for number, step in chain.items() if not stages or number in stages}
        if shown:
            parts = [*(f"stage{n}" for n in shown if stages), *(f"class{c}" for c in classes)]
            name = "-".join([name, *parts])
            path = store.sweep_folder(sweep) / "images" / name
            paths.append(_write_picture(path, shown, store, classes))
    return paths


def _write_picture(
    path: Path, stages: Mapping[int, SavedStep], store: Store, classes: Sequence[int]
) -> Path:
    from pdd_analysis.images import stage_grid

    pictures = [store.folder(stage.key) / artifact_files.PICTURE for stage in stages.values()]
    titles = [f"stage {number}" for number in stages]
    last = list(stages.values())[-1]
    names = class_names(last.key, store.folder(last.key))
    unknown = [label for label in classes if label >= len(names)]
    if unknown:
        raise ConfigError(f"there is no class {unknown[0]}: labels go from 0 to {len(names) - 1}")
    return stage_grid(
        pictures,
        path.with_name(f"{path.name}.png"),
        titles,
        class_names=names,
        classes=classes,
    )


def _last_stages(planned: Iterable[Record], *, all_seeds: bool) -> dict[str, str]:
    """Return the key of the last stage of each experiment, by a name for its picture."""
    last: dict[tuple[str, str], Record] = {}
    for record in planned:
        if record.stages == record.total_stages and record.stage_key:
            setting = (record.variant, str(record.axes), record.phase)
            seed = str(record.seed) if all_seeds else ""
            last.setdefault((str(setting), seed), record)
    return {_picture_name(record): record.stage_key for record in last.values()}


def _picture_name(record: Record) -> str:
    axes = [f"{name.rsplit('.', 1)[-1]}={value}" for name, value in record.axes.items()]
    phase = [f"phase{record.phase}"] if record.phase else []
    parts = [record.variant, *axes, f"seed{record.seed}", *phase]
    return re.sub(r"[^\w.=+-]+", "_", "-".join(parts))


def _finished_chain(last: str, steps: Mapping[str, SavedStep], store: Store) -> list[SavedStep]:
    """Return the stages that lead to ``last``, the first one first, as far as they are done."""
    chain: list[SavedStep] = []
    key: str | None = last
    while key is not None:
        step = steps[key]
        chain.insert(0, step)
        key = step.inputs.get("previous")
    done = [store.exists(step.key) for step in chain]
    return chain[: done.index(False)] if False in done else chain


def _orders(sweep: SweepSpec, planned: Iterable[Record]) -> dict[str, list[Json]]:
    """Return values in the order of the sweep: its variants, and the axes as they come."""
    orders: dict[str, list[Json]] = {"variant": list(sweep.variants)}
    for record in planned:
        for name, value in record.axes.items():
            values = orders.setdefault(name, [])
            if value not in values:
                values.append(value)
    return orders
