"""Plots of accuracies, written as PNG without a display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.fields import MODES, show
from analysis.notes import estimates
from analysis.statistics import CONFIDENCE
from analysis.tables import make_table
from pdd_ray.errors import ConfigError
from pdd_ray.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from analysis.cells import Table
    from analysis.statistics import Estimate
    from pdd_ray.fingerprint import Json
    from pdd_ray.records import Record

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart (jfly.uni-koeln.de/color)."""

MARKERS = "os^DvPX*<"
STYLES = ("-", "--", ":")
"""Strokes by mode."""
DPI = 150
MOST_TOTALS = 2
"""More totals than this under one tick are shown as a range."""

_UNITS = {"networks": "the networks of one distilled set", "seeds": "the means of the seeds"}


@dataclass(frozen=True)
class Line:
    """One line of the plot: what it shows, and its points by number of stages."""

    setting: str
    mode: str
    points: tuple[tuple[int, Estimate], ...]


def accuracy_per_stage(records: Iterable[Record], path: Path) -> Path:
    """Draw test accuracy against the number of stages to ``path``, and return ``path``.

    One line per variant, mode and whatever else varies: a colour per setting, a stroke per mode.
    Bars are 95% intervals as ``analysis.statistics`` defines them. Ticks give the number of
    stages and, below it, the total images per class.

    Raises:
        ConfigError: if there are no records.
    """
    from matplotlib.figure import Figure

    records = list(records)
    if not records:
        msg = "there are no finished evaluations to plot yet; run the sweep first"
        raise ConfigError(msg)
    table = make_table(records, rows=("variant", "mode"), columns=("stages",))
    lines = _lines(table)
    height = max(4.5, 1.5 + 0.26 * len(lines))
    figure = Figure(figsize=(9.0, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    _draw(axes, lines)
    _label_axes(axes, records)
    axes.set_xlabel(f"number of stages (images per class in total)\n\nbars: {_bars(table)}")
    figure.legend(loc="outside right upper", frameon=False, fontsize=10)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))
    return path


def _lines(table: Table) -> list[Line]:
    names = [name for name in table.rows if name != "mode"]
    values = [dict(zip(table.rows, row, strict=True)) for row in table.row_values]
    varying = [name for name in names if len({show(row[name]) for row in values}) > 1]
    stages = [int(show(column[0])) for column in table.column_values]
    return [
        Line(
            setting=", ".join(_part(name, row[name]) for name in varying or names[:1]),
            mode=show(row["mode"]),
            points=tuple(
                (number, cell.estimate)
                for number, cell in zip(stages, cells, strict=True)
                if cell is not None and cell.estimate is not None
            ),
        )
        for row, cells in zip(values, table.cells, strict=True)
    ]


def _part(name: str, value: Json) -> str:
    return value if isinstance(value, str) else f"{name.rsplit('.', 1)[-1]}={show(value)}"


def _draw(axes: Axes, lines: Sequence[Line]) -> None:
    settings = list(dict.fromkeys(line.setting for line in lines))
    single_mode = len({line.mode for line in lines}) == 1
    for index, line in enumerate(lines):
        # Lines are moved apart a little, so that bars at the same number of stages don't overlap.
        shift = 0.3 * ((index + 0.5) / len(lines) - 0.5)
        cycle, colour = divmod(settings.index(line.setting), len(COLOURS))
        style = MODES.index(line.mode)
        intervals = [estimate.interval for _, estimate in line.points]
        half = [0.0 if i is None else 50 * (i.high - i.low) for i in intervals]
        axes.errorbar(
            [stages + shift for stages, _ in line.points],
            [100 * estimate.mean for _, estimate in line.points],
            yerr=half if any(half) else None,
            label=line.setting if single_mode else f"{line.setting}, {line.mode}",
            color=COLOURS[colour],
            marker=MARKERS[(style + cycle * len(MODES)) % len(MARKERS)],
            linestyle=STYLES[style],
            linewidth=1.6,
            markersize=6,
            elinewidth=1.2,
            capsize=3,
        )


def _label_axes(axes: Axes, records: Iterable[Record]) -> None:
    totals: dict[int, set[int]] = {}
    for record in records:
        totals.setdefault(record.stages, set()).add(record.total_images_per_class)
    ticks = sorted(totals)
    axes.set_xticks(ticks, [f"{stages}\n({_either(totals[stages])})" for stages in ticks])
    axes.set_xlim(ticks[0] - 0.5, ticks[-1] + 0.5)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -1.0), min(high, 101.0))
    axes.set_ylabel("test accuracy (%)", fontsize=11)
    axes.tick_params(labelsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _either(totals: set[int]) -> str:
    values = sorted(totals)
    shown = values if len(values) <= MOST_TOTALS else [values[0], values[-1]]
    return (" or " if shown == values else " to ").join(map(str, shown))


def _bars(table: Table) -> str:
    units = {e.interval.unit for e in estimates(table) if e.interval is not None}
    if not units:
        return "none, as nothing was repeated"
    over = " or ".join(_UNITS[unit] for unit in sorted(units))
    return f"{CONFIDENCE:.0%} Student-t intervals over {over}"
