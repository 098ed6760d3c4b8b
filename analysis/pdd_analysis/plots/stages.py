"""Accuracy against the number of stages: Figure 3, and the modes of Table 3."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pdd_analysis.fields import show
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
from pdd_analysis.tables import make_table
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from pdd_analysis.cells import Table
    from pdd_analysis.statistics import Estimate
    from pdd_ray.core.records import Record

MOST_TOTALS = 2
"""More totals than this under one tick are shown as a range."""
WIDE_RANGE = 8
"""From this many times their least distance on, labels of ticks take turns in height."""
FULL_DASHES = ((6, 2), (2, 2), (6, 2, 1, 2), (1, 1))
"""Dashes of the lines of all real images, one per data set or network."""


@dataclass(frozen=True)
class Line:
    """One line of the plot: what it shows, and its points by number of stages."""

    setting: str
    mode: str
    points: tuple[tuple[int, Estimate], ...]


def accuracy_per_stage(records: Iterable[Record], path: Path) -> Path:
    """Draw test accuracy against the number of stages to ``path``, and return ``path``.

    One line per variant, mode and whatever else varies: a colour per setting, a stroke per mode.
    Bars are 95% intervals as ``pdd_analysis.statistics`` defines them. Ticks give the number of
    stages and, below it, the total images per class. Training on all real images, if it was
    evaluated, is a dashed horizontal line.

    Raises:
        ConfigError: if there are no records.
    """
    records = [record for record in records if record.phase == 0]
    staged = [record for record in records if record.mode != "full"]
    if not staged:
        msg = "there are no finished evaluations of stages to plot yet; run the sweep first"
        raise ConfigError(msg)
    table = make_table(staged, rows=("variant", "mode"), columns=("stages",))
    lines = _lines(table)
    full = [record for record in records if record.mode == "full"]
    figure = new_figure(len(lines))
    axes = figure.add_subplot()
    _draw(axes, lines)
    for index, (label, estimate, _) in enumerate(labelled_full(table_of_full(full))):
        dashes = (0, FULL_DASHES[index % len(FULL_DASHES)])
        height = 100 * estimate.mean
        axes.axhline(height, color="#555555", linestyle=dashes, linewidth=1.2, label=label)
    _label_axes(axes, staged)
    axes.set_xlabel(f"number of stages (images per class in total)\n\n{bars(table)}")
    legend(figure)
    return save(figure, path)


def accuracy_by_mode(records: Iterable[Record], path: Path) -> Path:
    """Draw progressive, union and sequential training against the number of stages (Table 3).

    Raises:
        ConfigError: if fewer than two modes were evaluated after several stages.
    """
    staged = [r for r in records if r.phase == 0 and r.mode != "full"]
    several = {(r.variant, str(r.axes)) for r in staged if r.stages > 1 and r.mode != "progressive"}
    chosen = [r for r in staged if (r.variant, str(r.axes)) in several]
    if len({r.mode for r in chosen}) < 2:
        msg = "there are no two modes of evaluation after several stages; see evaluation.modes"
        raise ConfigError(msg)
    return accuracy_per_stage(chosen, path)


def _lines(table: Table) -> list[Line]:
    names = [name for name in table.rows if name != "mode"]
    values = [dict(zip(table.rows, row, strict=True)) for row in table.row_values]
    shown = varying(names, [[row[name] for name in names] for row in values])
    stages = [int(show(column[0])) for column in table.column_values]
    return [
        Line(
            setting=label_of(row, shown),
            mode=show(row["mode"]),
            points=tuple(
                (number, cell.estimate)
                for number, cell in zip(stages, cells, strict=True)
                if cell is not None and cell.estimate is not None
            ),
        )
        for row, cells in zip(values, table.cells, strict=True)
    ]


def _draw(axes: Axes, lines: Sequence[Line]) -> None:
    settings = list(dict.fromkeys(line.setting for line in lines))
    single_mode = len({line.mode for line in lines}) == 1
    for index, line in enumerate(lines):
        # Lines are moved apart a little, so that bars at the same number of stages don't overlap.
        shift = 0.3 * ((index + 0.5) / len(lines) - 0.5)
        axes.errorbar(
            [stages + shift for stages, _ in line.points],
            [100 * estimate.mean for _, estimate in line.points],
            yerr=half_lengths(estimate for _, estimate in line.points),
            label=line.setting if single_mode else f"{line.setting}, {line.mode}",
            linewidth=1.6,
            markersize=6,
            elinewidth=1.2,
            capsize=3,
            **style_of(index, line.mode, settings.index(line.setting)),  # type: ignore[arg-type]
        )


def _label_axes(axes: Axes, records: Iterable[Record]) -> None:
    totals: dict[int, set[int]] = {}
    for record in records:
        totals.setdefault(record.stages, set()).add(record.total_images_per_class)
    ticks = sorted(totals)
    gap = min((after - tick for tick, after in pairwise(ticks)), default=1)
    dense = (ticks[-1] - ticks[0]) / gap >= WIDE_RANGE
    breaks = ["\n" * (1 + index % 2 * dense) for index in range(len(ticks))]
    axes.set_xticks(
        ticks,
        [f"{n}{lines}({_either(totals[n])})" for n, lines in zip(ticks, breaks, strict=True)],
    )
    axes.set_xlim(ticks[0] - 0.5, ticks[-1] + 0.5)
    accuracy_axis(axes)


def _either(totals: set[int]) -> str:
    values = sorted(totals)
    shown = values if len(values) <= MOST_TOTALS else [values[0], values[-1]]
    return (" or " if shown == values else " to ").join(map(str, shown))
