"""What all plots share: colours, strokes, error bars, axes, and how a figure becomes a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.fields import MODES, NOTHING, show
from pdd_analysis.notes import estimates
from pdd_analysis.statistics import CONFIDENCE
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.files import write_atomically
from pdd_ray.core.labels import axis_label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pdd_analysis.cells import Table
    from pdd_analysis.statistics import Estimate
    from pdd_ray.core.identities import Json

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart (jfly.uni-koeln.de/color)."""
MARKERS = "os^DvPX*<>ph"
"""Markers, one per line: filled ones first, then the same ones hollow."""
STYLES = ("-", "--", ":", "-.")
"""Strokes, one per mode."""
DPI = 150
WIDTH = 9.0
FORMATS = ("png", "svg")

_NO_BARS = "none, as nothing was repeated"
_UNITS = {"networks": "the networks of one distilled set", "seeds": "the means of the seeds"}


def new_figure(lines: int, width: float = WIDTH) -> Figure:
    """Return a figure that is high enough for a legend of ``lines`` entries."""
    from matplotlib.figure import Figure

    height = max(4.5, 1.5 + 0.26 * lines)
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def save(figure: Figure, path: Path) -> Path:
    """Write ``figure`` as PNG or SVG, by the ending of ``path``; the same bytes every time.

    Raises:
        ConfigError: for another ending.
    """
    import matplotlib as mpl

    form = path.suffix.removeprefix(".")
    if form not in FORMATS:
        raise ConfigError(f"plots are written as {' or '.join(FORMATS)}, not {path.name!r}")
    metadata = {"Date": None} if form == "svg" else {}
    settings = {"svg.hashsalt": "pdd-ray", "svg.fonttype": "path"}
    with mpl.rc_context(settings):  # type: ignore[arg-type]  # keys are literals in its types
        write_atomically(
            path, lambda temporary: figure.savefig(temporary, format=form, metadata=metadata)
        )
    return path


def style_of(index: int, mode: str | None = None, setting: int | None = None) -> dict[str, str]:
    """Return colour, marker and stroke of line number ``index``.

    Every line has a marker of its own, so that prints without colour are readable too. Lines of one
    ``setting``, if they are several, share their colour; those of one ``mode`` their stroke.
    """
    colour = COLOURS[(index if setting is None else setting) % len(COLOURS)]
    stroke = MODES.index(mode) if mode in MODES else index % len(STYLES)
    hollow = (index // len(MARKERS)) % 2 == 1
    return {
        "color": colour,
        "marker": MARKERS[index % len(MARKERS)],
        "markerfacecolor": "white" if hollow else colour,
        "linestyle": STYLES[stroke],
    }


def half_lengths(estimates: Iterable[Estimate]) -> list[float] | None:
    """Return half of each interval in percentage points; None if there is none at all."""
    intervals = [estimate.interval for estimate in estimates]
    half = [0.0 if i is None else 50 * (i.high - i.low) for i in intervals]
    return half if any(half) else None


def bars(*tables: Table) -> str:
    """Return what the bars of the accuracies in ``tables`` are, and a protocol to beware of."""
    units = {
        e.interval.unit for table in tables for e in estimates(table) if e.interval is not None
    }
    over = " or ".join(_UNITS[unit] for unit in sorted(units))
    text = f"{CONFIDENCE:.0%} Student-t intervals over {over}" if units else _NO_BARS
    if any("reference" in table.facts.protocols for table in tables):
        text += "\nprotocol reference: chosen on the test split, best of several tests"
    return f"bars: {text}"


def accuracy_axis(axes: Axes, split: str = "test") -> None:
    """Label the vertical axis, and keep it within what accuracies can be."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -1.0), min(high, 101.0))
    axes.set_ylabel(f"{split} accuracy (%)", fontsize=11)
    axes.tick_params(labelsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def legend(figure: Figure) -> None:
    """Put the legend beside the plot, where it hides nothing."""
    figure.legend(loc="outside right upper", frameon=False, fontsize=10)


def varying(names: Sequence[str], rows: Iterable[Sequence[Json]]) -> list[str]:
    """Return the names whose values differ between ``rows``, or the first one if none does."""
    rows = list(rows)
    found = [
        name for index, name in enumerate(names) if len({show(row[index]) for row in rows}) > 1
    ]
    return found or list(names[:1])


def label_of(values: dict[str, Json], names: Iterable[str]) -> str:
    """Return a short name of a setting by the fields ``names``."""
    return ", ".join(_part(name, values[name]) for name in names) or NOTHING


def _part(name: str, value: Json) -> str:
    return value if isinstance(value, str) else axis_label(name, show(value))
