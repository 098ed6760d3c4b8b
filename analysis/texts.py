"""Cells of tables as short texts, before Markdown or LaTeX marks are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.fields import NOTHING, key_of, labelled, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.cells import Cell, Choice, Comparison, Table
    from analysis.fields import Key
    from analysis.statistics import Difference
    from pdd_ray.fingerprint import Json

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Text:
    """The text of one cell: a part in bold, then a plain part."""

    plain: str
    strong: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of texts: ``labels`` columns on the left name the row, the others hold numbers."""

    header: tuple[str, ...]
    lines: tuple[tuple[Text, ...], ...]
    labels: int


def cell_grid(table: Table) -> Grid:
    """Return the accuracies; the best mean of each column (and data set) is in bold."""
    axes = tuple(name for name in _axes(table) if name not in table.rows)
    columns = [dict(zip(table.columns, values, strict=True)) for values in table.column_values]
    best = _best(table)
    lines = []
    for index, (values, cells) in enumerate(zip(table.row_values, table.cells, strict=True)):
        choice = table.choices[index] if table.choices else None
        labels = [Text(show(value)) for value in values]
        chosen = [Text(_chosen(choice, axis)) for axis in axes]
        numbers = [_cell_text(cell, best) for cell in cells]
        lines.append((*labels, *chosen, *numbers))
    header = (
        *table.rows,
        *(f"{axis} (chosen)" for axis in axes),
        *(_column_label(column, "accuracy") for column in columns),
    )
    return Grid(header, tuple(lines), len(table.rows) + len(axes))


def difference_grid(table: Table) -> Grid:
    """Return the paired differences, with their intervals."""
    compared = {comparison.field for comparison in table.comparisons}
    shared = compared if len(compared) == 1 else set()
    rows = tuple(name for name in table.rows if name not in shared)
    names = tuple(name for name in table.columns if name not in shared)
    found: dict[tuple[Key, str], dict[Key, Comparison]] = {}
    for comparison in table.comparisons:
        line = found.setdefault((key_of(comparison.fields, rows), _label(comparison)), {})
        line[key_of(comparison.fields, names)] = comparison
    used = {key for line in found.values() for key in line}
    columns = [key for key in _column_keys(table, names) if key in used]
    lines = tuple(
        (
            *(Text(show(value)) for value in labelled(rows, key).values()),
            Text(label),
            *(Text(difference_text(line[c].difference) if c in line else NOTHING) for c in columns),
        )
        for (key, label), line in found.items()
    )
    titles = (_column_label(labelled(names, key), "difference") for key in columns)
    return Grid((*rows, "compared", *titles), lines, len(rows) + 1)


def difference_text(difference: Difference) -> str:
    """Return a difference in percentage points with its interval and what was repeated."""
    interval = difference.interval
    if interval is None:
        return f"{_signed(difference.mean)} (one pair)"
    ends = f"[{_signed(interval.low)}, {_signed(interval.high)}]"
    return f"{_signed(difference.mean)} {ends} ({interval.count} {interval.unit})"


def _axes(table: Table) -> tuple[str, ...]:
    for choice in table.choices:
        if choice is not None:
            return tuple(choice.chosen.values)
    return ()


def _chosen(choice: Choice | None, axis: str) -> str:
    return NOTHING if choice is None else show(choice.chosen.values[axis])


def _column_label(values: Mapping[str, Json], empty: str) -> str:
    if not values:
        return empty
    return ", ".join(
        value if isinstance(value, str) else f"{name}={show(value)}"
        for name, value in values.items()
    )


def _best(table: Table) -> set[int]:
    """Return the ids of the cells with the best mean among the cells that they compete with."""
    groups: dict[Key, list[Cell]] = {}
    for row in table.cells:
        for cell in row:
            if cell is not None and cell.estimate is not None:
                names = ("dataset", *table.columns)
                groups.setdefault(key_of(cell.fields, names), []).append(cell)
    best: set[int] = set()
    for cells in groups.values():
        means = [cell.estimate.mean for cell in cells if cell.estimate is not None]
        if len(cells) > 1:
            best |= {
                id(cell) for cell, mean in zip(cells, means, strict=True) if mean == max(means)
            }
    return best


def _cell_text(cell: Cell | None, best: set[int]) -> Text:
    if cell is None:
        return Text(NOTHING)
    result = cell.estimate
    if result is None:
        return Text(f"missing ({cell.missing})")
    spread = "" if result.std is None else f" ± {100 * result.std:.1f}"
    missing = f", {cell.missing} missing" if cell.missing else ""
    accuracy, count = f"{100 * result.mean:.1f}{spread}", f" (n={result.n}{missing})"
    return Text(count, accuracy) if id(cell) in best else Text(accuracy + count)


def _column_keys(table: Table, names: Sequence[str]) -> list[Key]:
    keys = (
        key_of(dict(zip(table.columns, values, strict=True)), names)
        for values in table.column_values
    )
    return list(dict.fromkeys(keys))


def _label(comparison: Comparison) -> str:
    first, second = (_side(comparison.field, v) for v in (comparison.first, comparison.second))
    return f"{first} {MINUS} {second}"


def _side(field: str, value: Json) -> str:
    return value if isinstance(value, str) else f"{field}={show(value)}"


def _signed(value: float) -> str:
    """Return a fraction in percentage points with its sign, a true minus, and no -0.0."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", MINUS)
