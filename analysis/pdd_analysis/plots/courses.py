"""Plots of what happens in time: a student over the stages, accuracy over phases of classes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from pdd_analysis.fields import show
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

    from pdd_analysis.statistics import Estimate
    from pdd_ray.core.records import Record


@dataclass(frozen=True)
class Curve:
    """One network's accuracy on the validation slice while it is trained stage by stage.

    Attributes:
        setting: What was evaluated, for readers.
        network: (seed, network).
        stages: For each stage epochs done within it, and accuracies in [0, 1] after them.
    """

    setting: str
    network: tuple[int, int]
    stages: tuple[tuple[Sequence[int], Sequence[float]], ...]


def training_curves(curves: Iterable[Curve], path: Path) -> Path:
    """Draw accuracy on the validation slice against epochs, stage after stage (Figure 1).

    Lines are means over the networks, bands reach from the lowest to the highest.

    Raises:
        ConfigError: if there are no curves.
    """
    settings: dict[str, list[Curve]] = {}
    for curve in curves:
        settings.setdefault(curve.setting, []).append(curve)
    if not settings:
        msg = "no evaluation has a curve; set evaluation.curve_points"
        raise ConfigError(msg)
    figure = new_figure(len(settings) + 2)
    axes = figure.add_subplot()
    borders: set[int] = set()
    for index, (setting, members) in enumerate(settings.items()):
        longest = max(len(curve.stages) for curve in members)
        whole = [_joined(curve) for curve in members if len(curve.stages) == longest]
        epochs = whole[0][0]
        by_epoch = list(zip(*(accuracies for _, accuracies in whole), strict=True))
        style = style_of(index)
        axes.plot(
            epochs,
            [100 * mean(values) for values in by_epoch],
            label=f"{setting} ({len(whole)} networks)",
            markersize=4,
            **style,  # type: ignore[arg-type]
        )
        low, high = ([100 * end(values) for values in by_epoch] for end in (min, max))
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)
        borders |= set(accumulate(_lengths(members, longest)[:-1]))
    for border in sorted(borders):
        axes.axvline(border, color="#999999", linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_xlabel(
        "epochs; dashed lines: the next stage begins\n\nbands: lowest to highest network"
    )
    accuracy_axis(axes, "validation")
    legend(figure)
    return save(figure, path)


def accuracy_per_phase(records: Iterable[Record], path: Path) -> Path:
    """Draw accuracy on all classes seen against their number, in continual learning (Table 7).

    Raises:
        ConfigError: if there are no evaluations of continual learning.
    """
    chosen = [record for record in records if record.phase > 0]
    if not chosen:
        raise ConfigError("no evaluation is one of continual learning; see the key `continual`")
    table = make_table(chosen, rows=("variant", "mode"), columns=("classes",))
    ticks = [int(show(column[0])) for column in table.column_values]
    rows = [dict(zip(table.rows, row, strict=True)) for row in table.row_values]
    names = [name for name in table.rows if name not in ("phase", "train_images")]
    shown = varying(names, [[row[name] for name in names] for row in rows])
    figure = new_figure(len(rows))
    axes = figure.add_subplot()
    lines: dict[str, list[tuple[int, Estimate]]] = {}
    for row, cells in zip(rows, table.cells, strict=True):
        for classes, cell in zip(ticks, cells, strict=True):
            if cell is not None and cell.estimate is not None:
                lines.setdefault(label_of(row, shown), []).append((classes, cell.estimate))
    width = 0.25 * (ticks[1] - ticks[0] if len(ticks) > 1 else 1)
    for index, (label, points) in enumerate(lines.items()):
        shift = width * ((index + 0.5) / len(lines) - 0.5)  # so that bars don't overlap
        points.sort(key=lambda point: point[0])
        found = [estimate for _, estimate in points]
        axes.errorbar(
            [classes + shift for classes, _ in points],
            [100 * estimate.mean for estimate in found],
            yerr=half_lengths(found),
            label=label,
            capsize=3,
            linewidth=1.6,
            **style_of(index),  # type: ignore[arg-type]
        )
    axes.set_xticks(ticks)
    axes.set_xlabel(f"classes seen\n\n{bars(table)}")
    accuracy_axis(axes)
    legend(figure)
    return save(figure, path)


def _joined(curve: Curve) -> tuple[list[int], list[float]]:
    """Return epochs and accuracies of all stages, one after the other."""
    epochs: list[int] = []
    accuracies: list[float] = []
    for own_epochs, own in curve.stages:
        before = epochs[-1] if epochs else 0
        epochs += [before + epoch for epoch in own_epochs]
        accuracies += own
    return epochs, accuracies


def _lengths(members: Sequence[Curve], stages: int) -> list[int]:
    longest = next(curve for curve in members if len(curve.stages) == stages)
    return [epochs[-1] for epochs, _ in longest.stages]
