"""Which cells of a table are in bold: the best of each group, and those that tie with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.fields import DATA, key_of
from pdd_analysis.statistics import paired_difference

if TYPE_CHECKING:
    from pdd_analysis.cells import Cell, Table
    from pdd_analysis.fields import Key


def best_cells(table: Table) -> set[int]:
    """Return the ids of the cells in bold.

    The cells of a column that have the same data set compete, those of mode full aside. Bold are
    the best mean, equal means, and every cell whose paired difference to the best has an interval
    that contains 0. Cells without an interval, or without a pair in common with the best, tie only
    by equal means: overlapping intervals say nothing about a difference.
    """
    groups: dict[Key, list[Cell]] = {}
    for row in table.cells:
        for cell in row:
            if cell is not None and cell.estimate and cell.settings.get("mode") != "full":
                names = (*DATA, *table.columns)
                groups.setdefault(key_of({**cell.settings, **cell.fields}, names), []).append(cell)
    competing = [cells for cells in groups.values() if len(cells) > 1]
    return {id(cell) for cells in competing for cell in _best_of(cells)}


def _best_of(cells: list[Cell]) -> list[Cell]:
    best = max(cells, key=_mean)
    return [cell for cell in cells if _mean(cell) == _mean(best) or _ties(best, cell)]


def _mean(cell: Cell) -> float:
    return cell.estimate.mean if cell.estimate else 0.0


def _ties(best: Cell, other: Cell) -> bool:
    difference = paired_difference(best.values, other.values)
    interval = difference.interval if difference else None
    return interval is not None and interval.low <= 0 <= interval.high
