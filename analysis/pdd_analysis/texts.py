"""Cells of tables as short texts, before Markdown or LaTeX marks are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdd_analysis.best import best_cells
from pdd_analysis.fields import NOTHING, key_of, labelled, show, show_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdd_analysis.cells import Cell, Choice, Comparison, Table
    from pdd_analysis.fields import Key
    from pdd_analysis.statistics import Difference
    from pdd_ray.core.identities import Json

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
    """Return the accuracies, the best of each column in bold, and beside them the paper's.

    A column that has a published number somewhere is followed by two more: what the paper prints,
    and the difference of the means in percentage points.
    """
    axes = tuple(name for name in _axes(table) if name not in table.rows)
    columns = [dict(zip(table.columns, values, strict=True)) for values in table.column_values]
    best = best_cells(table)
    compared = [any(cell and cell.published for cell in cells) for cells in _by_column(table)]
    lines = []
    for index, (values, cells) in enumerate(zip(table.row_values, table.cells, strict=True)):
        choice = table.choices[index] if table.choices else None
        labels = [Text(show_of(*pair)) for pair in zip(table.rows, values, strict=True)]
        chosen = [Text(_chosen(choice, axis)) for axis in axes]
        numbers = [
            text
            for cell, beside in zip(cells, compared, strict=True)
            for text in (_cell_text(cell, best), *(_paper_texts(cell) if beside else ()))
        ]
        lines.append((*labels, *chosen, *numbers))
    header = (
        *table.rows,
        *(f"{axis} (chosen)" for axis in axes),
        *(
            title
            for column, beside in zip(columns, compared, strict=True)
            for title in _titles(_column_label(column, "accuracy"), beside=beside)
        ),
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
            *(Text(show_of(name, value)) for name, value in labelled(rows, key).items()),
            Text(label),
            *(Text(_comparison_text(line.get(column))) for column in columns),
        )
        for (key, label), line in found.items()
    )
    titles = (_column_label(labelled(names, key), "difference") for key in columns)
    return Grid((*rows, "compared", *titles), lines, len(rows) + 1)


def difference_text(difference: Difference, adjusted_p: float | None = None) -> str:
    """Return a difference in percentage points with its interval, what was repeated, and p."""
    interval = difference.interval
    if interval is None:
        return f"{_signed(difference.mean)} (one pair)"
    ends = f"[{_signed(interval.low)}, {_signed(interval.high)}]"
    p = "" if adjusted_p is None else f", {_p_text(adjusted_p)}"
    return f"{_signed(difference.mean)} {ends} ({interval.count} {interval.unit}{p})"


def _comparison_text(comparison: Comparison | None) -> str:
    if comparison is None:
        return NOTHING
    return difference_text(comparison.difference, comparison.adjusted_p)


def _p_text(p: float) -> str:
    return "p<0.001" if p < 0.001 else f"p={p:.3f}"


def _titles(label: str, *, beside: bool) -> tuple[str, ...]:
    return (label, f"{label}: paper", f"{label}: difference") if beside else (label,)


def _by_column(table: Table) -> list[tuple[Cell | None, ...]]:
    return list(zip(*table.cells, strict=True))


def _paper_texts(cell: Cell | None) -> tuple[Text, Text]:
    if cell is None or cell.published is None:
        return Text(NOTHING), Text(NOTHING)
    if cell.estimate is None:
        return Text(cell.published.text), Text(NOTHING)
    difference = cell.estimate.mean - cell.published.mean / 100
    return Text(cell.published.text), Text(_signed(difference))


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
        value if isinstance(value, str) else f"{name}={show_of(name, value)}"
        for name, value in values.items()
    )


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
    return value if isinstance(value, str) else f"{field}={show_of(field, value)}"


def _signed(value: float) -> str:
    """Return a fraction in percentage points with its sign, a true minus, and no -0.0."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", MINUS)
