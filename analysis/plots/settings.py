"""Plots of complete sets: stages against images per stage, and accuracy against cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.notes import estimates
from analysis.plots.style import (
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
from analysis.statistics import mean
from analysis.tables import make_table
from pdd_ray.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from analysis.cells import Table
    from analysis.statistics import Estimate
    from pdd_ray.fingerprint import Json
    from pdd_ray.records import Record


LEAST_PLACE = 1e-3
"""Smallest value that a logarithmic axis is given."""


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
    for values, estimate in _rows(table):
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
        "number of stages; images per class and stage are the total divided by it\n\n"
        f"bars: {bars(estimates(table))}"
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
    table = make_table(known, rows=("variant",), columns=())
    keys = {name: index for index, name in enumerate(table.rows)}
    shown = varying(table.rows, table.row_values)
    figure = new_figure(len(table.row_values), width=12.0)
    panels = figure.subplots(1, 2, sharey=True)
    drawn: tuple[list[float], list[float]] = ([], [])
    for index, (values, estimate) in enumerate(_rows(table)):
        members = [r for r in known if all(_field(r, name) == values[name] for name in keys)]
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
                label=label_of(values, shown) if axes is panels[0] else None,
                capsize=3,
                markersize=7,
                **style_of(index),
            )
    titles = ("time of all steps that led to the set (minutes)", "size of the set (kB, float32)")
    for axes, title, found in zip(panels, titles, drawn, strict=True):
        if max(found) > 10 * min(found):  # a logarithmic axis needs decades to be read
            axes.set_xscale("log")
        axes.set_xlabel(title)
        accuracy_axis(axes)
    panels[1].set_ylabel("")
    figure.supxlabel(f"bars: {bars(estimates(table))}", fontsize=10)
    legend(figure)
    return save(figure, path)


def _complete(records: Iterable[Record]) -> list[Record]:
    """Return the evaluations of complete sets, those of continual learning left out."""
    return [r for r in records if r.stages == r.total_stages and r.phase == 0]


def _rows(table: Table) -> list[tuple[dict[str, Json], Estimate]]:
    found = []
    for row, cells in zip(table.row_values, table.cells, strict=True):
        if cells[0] is not None and cells[0].estimate is not None:
            found.append((dict(zip(table.rows, row, strict=True)), cells[0].estimate))
    return found


def _field(record: Record, name: str) -> Json:
    value: Json = record.flat().get(name)
    return value


def _stages(point: Sequence[object]) -> int:
    return int(str(point[0]))
