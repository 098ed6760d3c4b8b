"""The table of a sweep, ready-made ones and pivots, as text made from the store alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdd_analysis import layouts
from pdd_analysis.rendering import render
from pdd_ray.configuration.expand import BASE_VARIANT
from pdd_ray.configuration.sweep import TableSpec
from pdd_ray.core.errors import ConfigError
from pdd_ray.planning.sweep_plan import planned_records
from pdd_ray.results.paper_settings import published_beside
from pdd_ray.results.saved_sweeps import read_evaluations

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdd_analysis.cells import Table
    from pdd_analysis.published import Published
    from pdd_ray.configuration.expand import LoadedSweep
    from pdd_ray.configuration.load import Collection
    from pdd_ray.configuration.sweep import SweepSpec
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record
    from pdd_ray.core.store import Store
    from pdd_ray.planning.sweep_plan import SweepPlan

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


OWN = Pivot()
"""The sweep's own table, nothing of it changed."""


@dataclass(frozen=True)
class TableData:
    """What all tables of a sweep are made of.

    Attributes:
        sweep: The sweep.
        planned: All its evaluations.
        finished: Those that are finished, with their results.
        published: The paper's numbers and how the sweep's settings differ; None without a paper.
    """

    sweep: LoadedSweep
    planned: Sequence[Record]
    finished: Sequence[Record]
    published: Published | None

    @classmethod
    def of(
        cls, sweep: LoadedSweep, planned: Sequence[Record], finished: Sequence[Record]
    ) -> TableData:
        """Return the evaluations of ``sweep`` with what the paper has for it.

        Raises:
            ConfigError: if the sweep's ``reference`` is no preset.
        """
        return cls(sweep, planned, finished, published_beside(sweep))


def table_text(
    sweep: LoadedSweep,
    store: Store,
    form: str = "md",
    comparison: str | None = None,
    pivot: Pivot = OWN,
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
    data = TableData.of(sweep, *read_evaluations(sweep.name, store))
    if comparison is None:
        return render(sweep_table(data, pivot), form)
    return render(comparison_table(data, comparison), form)


def tables_text(
    sweeps: Sequence[LoadedSweep],
    store: Store,
    form: str = "md",
    comparison: str | None = None,
    pivot: Pivot = OWN,
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
    pivot: Pivot = OWN,
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


def sweep_table(data: TableData, pivot: Pivot = OWN) -> Table:
    """Return the table that a sweep describes, changed by ``pivot``.

    Raises:
        ConfigError: for table fields that the records don't have, or a table that the paper does
            not have.
    """
    spec = data.sweep.spec
    layout = _layout(spec, pivot)
    _check_baseline(spec, pivot.baseline, "baseline")
    if pivot.choose is not None:
        _check_axes(pivot.choose, data.planned)
    # an axis that the pivot shows is not chosen
    shown = (*(pivot.rows or ()), *(pivot.columns or ()))
    chosen = pivot.choose
    if chosen is None:
        chosen = tuple(axis for axis in _chosen(spec) or () if axis not in shown)
    baseline = pivot.baseline or spec.table.baseline
    return _laid_out(data, layout, chosen or None, baseline)


def comparison_table(data: TableData, name: str) -> Table:
    """Return the ready-made table ``name``, one of :data:`COMPARISONS`."""
    return _laid_out(data, COMPARISONS[name], _chosen(data.sweep.spec))


def _laid_out(
    data: TableData,
    layout: layouts.Layout,
    choose: tuple[str, ...] | None,
    baseline: str | None = None,
) -> Table:
    return layouts.lay_out(
        layout,
        data.finished,
        baseline=baseline,
        choose=choose,
        planned=data.planned,
        order=_orders(data.sweep.spec, data.planned),
        published=data.published,
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


def check_table(sweep: LoadedSweep, plan: SweepPlan) -> None:
    """Check, before anything is run, that the table of ``sweep`` can be made from its ``plan``.

    Raises:
        ConfigError: for table fields that its records won't have, a table that the paper does not
            have, or a reference that is no preset.
    """
    _check_baseline(sweep.spec, sweep.spec.table.baseline, "table.baseline")
    sweep_table(TableData.of(sweep, planned_records(plan), ()))


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


def _orders(sweep: SweepSpec, planned: Iterable[Record]) -> dict[str, list[Json]]:
    """Return values in the order of the sweep: its variants, and the axes as they come."""
    orders: dict[str, list[Json]] = {"variant": list(sweep.variants)}
    for record in planned:
        for name, value in record.axes.items():
            values = orders.setdefault(name, [])
            if value not in values:
                values.append(value)
    return orders
