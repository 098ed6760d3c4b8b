"""Caption and notes of a table: how the numbers were made, what was chosen, what is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pdd_analysis.fields import show
from pdd_analysis.published import PAPER
from pdd_analysis.statistics import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pdd_analysis.cells import Cell, Choice, Table
    from pdd_analysis.published import Published
    from pdd_analysis.statistics import Difference, Estimate

_INTERVALS = {
    frozenset({"seeds"}): "over the means of the seeds, since the networks of a seed share a "
    "distilled set",
    frozenset({"networks"}): "over the networks of one distilled set; they do not cover what "
    "another seed would distil",
    frozenset({"seeds", "networks"}): "over the means of the seeds where there are several, "
    "else over the networks of one distilled set",
}


_BOLD = (
    "highest mean of a column (and data set), and what ties with it, i.e. has a paired difference "
    "to it with an interval that contains 0"
)

_PROTOCOLS = {
    "held_out": "chosen on the validation slice, the test split read once after the last epoch",
    "reference": "chosen on the test split, best of k tests: the original protocol; not comparable",
}


def caption(table: Table) -> str:
    """Return what ``table`` shows, its protocol, n and ddof."""
    fields = (*table.rows, *table.columns)
    listed = f"{', '.join(fields[:-1])} and {fields[-1]}" if len(fields) > 1 else "".join(fields)
    title = table.title or f"Accuracy by {listed}"
    parts = [title, *(f"Protocol {text}" for text in _protocols(table)), _spread(table)]
    return ". ".join(part for part in parts if part) + "."


def _protocols(table: Table) -> Iterator[str]:
    for protocol in table.facts.protocols:
        yield f"{protocol}: {_PROTOCOLS.get(protocol, 'unknown')}"


def _spread(table: Table) -> str:
    counts = sorted({estimate.n for estimate in estimates(table)})
    if not counts:
        return "No results yet"
    return f"Mean ± standard deviation (ddof = 1) of n = {_range(counts)} networks"


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
            *_published(table),
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
    after = {
        (): "after the last epoch",
        ("held_out",): "after the last epoch",
        ("reference",): "at the best of the tests that the original code makes",
    }.get(
        table.facts.protocols,
        "after the last epoch, or (protocol reference) at the best of several tests",
    )
    return f"Accuracy in percent on the test split{images} {after}{_epochs(table)}."


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
    bold = f"; bold: {_BOLD}" if len(table.cells) > 1 else ""
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
    parts = ["Differences: percentage points, paired by seed and network"]
    if differences:
        parts.append(_interval_rule(differences))
    tested = [comparison for comparison in table.comparisons if comparison.adjusted_p is not None]
    if tested:
        adjusted = f"adjusted by Holm over the {len(tested)} comparisons of this table"
        alone = "not adjusted, as there is one comparison"
        parts.append(f"p: paired t test, two-sided, {adjusted if len(tested) > 1 else alone}")
    if not all(comparison.same_settings for comparison in table.comparisons):
        parts.append("where stages differ, at the same total images per class")
    if table.unmatched:
        parts.append(f"{counted(table.unmatched, 'cell')} without a counterpart")
    return "; ".join(parts) + "."


def _absent_references(table: Table) -> Iterator[str]:
    for contrast in table.absent_references:
        yield f"No differences to {contrast.field} {show(contrast.reference)!r}: no evaluations."


def _published(table: Table) -> Iterator[str]:
    """Yield what the paper's numbers are, or why there are none."""
    if table.published is None:
        return
    cells = [cell for row in table.cells for cell in row if cell is not None]
    if any(cell.published for cell in cells):
        yield (
            f"Paper: {PAPER}, {table.published.table}, mean ± standard deviation (ddof = 0) of 5 "
            f"networks of one distilled set, kept by test accuracy; only beside cells with the "
            f"settings of {table.published.reference}. For orientation, not a test."
        )
    yield from _differing_settings(table.published, cells)


def _differing_settings(published: Published, cells: Iterable[Cell]) -> Iterator[str]:
    """Yield the settings that are not the paper's: those of all variants, then each set's rest."""
    differing: dict[str, dict[str, None]] = {}
    for cell in cells:
        setting = published.settings.get(cell.setting)
        if setting is not None and setting.differs:
            differing[cell.setting] = dict.fromkeys(setting.differs)
    shown = {cell.setting for cell in cells if cell.setting}
    if not differing:
        return
    first = next(iter(differing.values()))
    common = [text for text in first if all(text in others for others in differing.values())]
    everywhere = shown == differing.keys()
    source = f"own (of {published.reference})"
    rest: dict[tuple[str, ...], list[str]] = {}
    for key, texts in differing.items():
        own = tuple(text for text in texts if text not in common or not everywhere)
        if own:
            rest.setdefault(own, []).append(_setting_name(key))
    if common and everywhere:
        yield f"Not the paper's settings in any cell, {source}: {', '.join(common)}."
    for texts_of_set, names in rest.items():
        also = " also" if common and everywhere else ""
        listed = ", ".join(texts_of_set)
        yield f"Not the paper's settings in {', '.join(names)}{also}, {source}: {listed}."


def _setting_name(key: str) -> str:
    variant, axes = json.loads(key)
    parts = [f"{name}={show(value)}" for name, value in axes.items()]
    return f"{variant} ({', '.join(parts)})" if parts else str(variant)
