"""The sentences under a table: how the numbers were made, what was chosen, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.fields import show
from analysis.statistics import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analysis.cells import Choice, Table
    from analysis.statistics import Difference, Estimate

_INTERVALS = {
    frozenset({"seeds"}): "over the means of the seeds, since the networks of a seed share a "
    "distilled set",
    frozenset({"networks"}): "over the networks of one distilled set; they do not cover what "
    "another seed would distil",
    frozenset({"seeds", "networks"}): "over the means of the seeds where there are several, "
    "else over the networks of one distilled set",
}


def notes(table: Table) -> tuple[str, ...]:
    """Return what a reader of ``table`` has to know, one sentence or two per entry."""
    if not table.cells:
        return ("No evaluation is recorded or planned yet.",)
    return tuple(
        note
        for note in (
            _accuracy(table),
            _repetitions(table),
            _choice(table),
            _missing(table),
            _split(table),
            _comparisons(table),
            *_absent_references(table),
        )
        if note
    )


def estimates(table: Table) -> list[Estimate]:
    """Return the estimates of all cells that have one."""
    cells = (cell for row in table.cells for cell in row)
    return [cell.estimate for cell in cells if cell is not None and cell.estimate is not None]


def counted(count: int, noun: str) -> str:
    """Return ``count`` with its noun, in the plural if need be."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _accuracy(table: Table) -> str:
    sizes = " or ".join(map(str, table.facts.test_images))
    images = f" ({sizes} images)" if sizes else ""
    return f"Accuracy in percent on the test split{images} after the last epoch{_epochs(table)}."


def _epochs(table: Table) -> str:
    epochs = table.facts.epochs
    if len(set(epochs.values())) == 1:
        return f" ({_range(next(iter(epochs.values())))} epochs per stage)"
    by_mode = ", ".join(f"{mode} {_range(values)}" for mode, values in epochs.items())
    return f" (epochs per stage: {by_mode})" if by_mode else ""


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _repetitions(table: Table) -> str:
    found = estimates(table)
    if not found:
        return ""
    seeds = _range(sorted({estimate.n_seeds for estimate in found}))
    plural = "seed" if seeds == "1" else "seeds"
    text = f"Cells: mean ± standard deviation (ddof = 1) over n networks of {seeds} {plural}"
    bold = "; bold: highest mean of a column, which is no test" if len(table.cells) > 1 else ""
    return f"{text}; {_interval_rule(found, ' (csv, json)')}{bold}."


def _interval_rule(results: Iterable[Estimate | Difference], where: str = "") -> str:
    units = frozenset(result.interval.unit for result in results if result.interval is not None)
    if not units:
        return "no interval, as nothing was repeated"
    return f"{CONFIDENCE:.0%} intervals{where}: Student t {_INTERVALS[units]}"


def _choice(table: Table) -> str:
    choices = [choice for choice in table.choices if choice is not None]
    if not choices:
        return "Chosen on validation: nothing."
    axes = ", ".join(choices[0].chosen.values)
    modes = {f"{choice.mode} evaluations" if choice.mode else "all modes" for choice in choices}
    rule = f"best mean validation accuracy of {' or '.join(sorted(modes))}"
    return f"Chosen on validation, per row, never on test: {axes} ({rule}){_left_out(choices)}."


def _left_out(choices: Iterable[Choice]) -> str:
    unique = {id(choice): choice for choice in choices}.values()
    left_out = sum(
        candidate.validation is None for choice in unique for candidate in choice.candidates
    )
    if not left_out:
        return ""
    return f"; {counted(left_out, 'candidate')} not considered, as evaluations are missing"


def _missing(table: Table) -> str:
    if not table.missing:
        return ""
    empty = sum(cell is not None and cell.estimate is None for row in table.cells for cell in row)
    incomplete = sum(
        cell is not None and cell.estimate is not None and cell.missing > 0
        for row in table.cells
        for cell in row
    )
    supposed = "" if table.facts.plan_known else ", if every row is to have every column"
    return (
        f"MISSING: {counted(table.missing, 'evaluation')} "
        f"({counted(empty, 'cell')} without any, {incomplete} incomplete){supposed}."
    )


def _split(table: Table) -> str:
    if not table.facts.split_by:
        return ""
    return f"Rows are split by {', '.join(table.facts.split_by)}, which would vary inside cells."


def _comparisons(table: Table) -> str:
    if not table.comparisons and not table.unmatched:
        return ""
    differences = [comparison.difference for comparison in table.comparisons]
    parts = [
        f"Differences: percentage points, paired by seed and network; {_interval_rule(differences)}"
    ]
    if not all(comparison.same_settings for comparison in table.comparisons):
        parts.append("where stages differ, at the same total images per class")
    if table.unmatched:
        parts.append(f"{counted(table.unmatched, 'cell')} without a counterpart")
    return "; ".join(parts) + "."


def _absent_references(table: Table) -> Iterator[str]:
    for contrast in table.absent_references:
        yield f"No differences to {contrast.field} {show(contrast.reference)!r}: no evaluations."
