"""Plots of complete sets: stages against images per stage, and accuracy against cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.plots.full import labelled_full, table_of_full
from pdd_analysis.plots.style import (
    accuracy_axis,
    bars,
    half_lengths,
    label_of,
    legend,
    new_figure,
    save,
    style_of,
    varying,
)
from pdd_analysis.statistics import mean
from pdd_analysis.tables import make_table
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from pdd_analysis.cells import Table
    from pdd_analysis.statistics import Estimate
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record


LEAST_PLACE = 1e-3
"""Smallest value that a logarithmic axis is given."""
MANY_DECADES = 1e3
"""From this extent on, only powers of ten are labelled."""


def stages_against_images(records: Iterable[Record], path: Path) -> Path:
    """Draw accuracy against the number of stages at equal total images per class (Table 5).

    A line joins the settings of a method that have the same total; ticks are numbers of stages.

    Raises:
        ConfigError: if no two numbers of stages have the same total.
    """
    chosen = _complete(records)
    names = ("method", "total_images_per_class", "mode")
    table = make_table(chosen, rows=(*names, "total_stages"), columns=())
    groups: dict[tuple[Json, ...], list[tuple[int, Estimate]]] = {}
    for values, estimate, _ in _rows(table):
        rest = tuple(values[name] for name in table.rows if name != "total_stages")
        groups.setdefault(rest, []).append((int(str(values["total_stages"])), estimate))
    lines = {key: sorted(points, key=_stages) for key, points in groups.items() if len(points) > 1}
    if not lines:
        msg = "no two numbers of stages have the same total of images per class"
        raise ConfigError(msg)
    figure = new_figure(len(lines))
    axes = figure.add_subplot()
    fields = [name for name in table.rows if name != "total_stages"]
    shown = [*dict.fromkeys(["method", "total_images_per_class", *varying(fields, lines)])]
    for index, (key, points) in enumerate(lines.items()):
        axes.errorbar(
            [stages for stages, _ in points],
            [100 * estimate.mean for _, estimate in points],
            yerr=half_lengths(estimate for _, estimate in points),
            label=label_of(dict(zip(fields, key, strict=True)), shown),
            capsize=3,
            linewidth=1.6,
            **style_of(index),  # type: ignore[arg-type]
        )
    ticks = sorted({stages for points in lines.values() for stages, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(
        f"number of stages; images per class and stage are the total divided by it\n\n{bars(table)}"
    )
    accuracy_axis(axes)
    legend(figure)
    return save(figure, path)


def accuracy_against_cost(records: Iterable[Record], path: Path) -> Path:
    """Draw accuracy against the time that led to a set, and against its size in bytes.

    The time is that of all steps before the evaluations, experts and transitions among them, as
    they were measured; steps that settings share count for each.

    Raises:
        ConfigError: if no time or size is known.
    """
    chosen = [r for r in _complete(records) if r.mode in ("progressive", "full")]
    known = [r for r in chosen if r.stored_bytes and r.cost_seconds is not None]
    if not known:
        msg = "no evaluation has a known time and size; run the sweep with this version"
        raise ConfigError(msg)
    table = make_table([r for r in known if r.mode != "full"], rows=("variant",), columns=())
    full = table_of_full([r for r in known if r.mode == "full"])
    shown = varying(table.rows, table.row_values)
    points = [(label_of(row, shown), found, keys) for row, found, keys in _rows(table)]
    points += labelled_full(full)
    figure = new_figure(len(points), width=12.0)
    panels = figure.subplots(1, 2, sharey=True)
    drawn: tuple[list[float], list[float]] = ([], [])
    by_key: dict[str, list[Record]] = {}
    for record in known:
        by_key.setdefault(record.key, []).append(record)
    for index, (label, estimate, keys) in enumerate(points):
        members = [record for key in keys for record in by_key.get(key, ())]
        places = (
            mean(r.cost_seconds or 0.0 for r in members) / 60,
            mean(r.stored_bytes for r in members) / 1e3,
        )
        for axes, place, others in zip(panels, places, drawn, strict=True):
            others.append(max(place, LEAST_PLACE))
            axes.errorbar(
                others[-1:],
                [100 * estimate.mean],
                yerr=half_lengths([estimate]),
                label=label if axes is panels[0] else None,
                capsize=3,
                markersize=7,
                **style_of(index),
            )
    titles = ("time of all steps that led to the set (minutes)", "size of the set (kB, float32)")
    for axes, title, found in zip(panels, titles, drawn, strict=True):
        if max(found) > 10 * min(found):  # a logarithmic axis needs decades to be read
            _make_logarithmic(axes, max(found) / min(found))
        axes.set_xlabel(title)
        accuracy_axis(axes)
    panels[1].set_ylabel("")
    figure.supxlabel(bars(table, full), fontsize=10)
    legend(figure)
    return save(figure, path)


def _make_logarithmic(axes: Axes, extent: float) -> None:
    """Make the horizontal axis logarithmic, with labels that have room beside each other."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if extent < MANY_DECADES else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _complete(records: Iterable[Record]) -> list[Record]:
    """Return the evaluations of complete sets, those of continual learning left out."""
    return [r for r in records if r.stages == r.total_stages and r.phase == 0]


def _rows(table: Table) -> list[tuple[dict[str, Json], Estimate, frozenset[str]]]:
    found = []
    for row, cells in zip(table.row_values, table.cells, strict=True):
        cell = cells[0]
        if cell is not None and cell.estimate is not None:
            found.append((dict(zip(table.rows, row, strict=True)), cell.estimate, cell.keys))
    return found


def _stages(point: Sequence[object]) -> int:
    return int(str(point[0]))
