"""Tables of accuracies from records: mean, spread, intervals, choices and paired differences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdd_analysis.cells import Cell, Comparison, Contrast, Facts, Table
from pdd_analysis.choices import choice_fields
from pdd_analysis.choices import choose as choose_values
from pdd_analysis.differences import compare
from pdd_analysis.fields import (
    MODES,
    SETTINGS,
    check_names,
    entries_of,
    group,
    key_of,
    labelled,
    shared_once,
    sort_keys,
    value_of,
    varying_fields,
)
from pdd_analysis.rendering import render
from pdd_analysis.statistics import estimate, holm
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdd_analysis.fields import Entry, Key
    from pdd_analysis.published import Published
    from pdd_analysis.statistics import Replicate
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record

__all__ = ["Contrast", "Table", "make_table", "render"]


def make_table(
    records: Iterable[Record],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    baseline: str | None = None,
    choose: Sequence[str] | None = None,
    contrasts: Sequence[Contrast] = (),
    planned: Iterable[Record] | None = None,
    order: Mapping[str, Sequence[Json]] | None = None,
    published: Published | None = None,
    title: str = "",
) -> Table:
    """Return the table of test accuracies of ``records``.

    A cell repeats one setting over seeds and networks. Settings that vary inside cells are never
    averaged over: the rows are split by them. Nothing depends on the order of the records.

    Args:
        records: Finished evaluations.
        rows: Record fields or grid axes that make the rows.
        columns: Record fields or grid axes that make the columns.
        baseline: Variant to which paired differences are given.
        choose: Grid axes of which every row shows the value with the best mean *validation*
            accuracy, see ``pdd_analysis.choices.choose``.
        contrasts: More paired differences.
        planned: All planned evaluations as records whose results are ignored. From these the
            table knows what is missing; without them it expects every (seed, network) that
            occurs, in every combination of row and column.
        order: Values that come first, by field, e.g. the variants as the sweep lists them.
        published: The paper's numbers, shown where a cell's whole setting is the paper's.
        title: What the table shows, for its caption.

    Raises:
        ConfigError: for unknown fields, a field used twice, or records that can't be told apart.
    """
    axes = tuple(choose or ())
    named = (*rows, *columns, *axes)
    entries = entries_of(records, planned or ())
    _check_names_once(named)
    check_names(named, entries)
    entries = entries if "variant" in named else shared_once(entries)
    split_by = varying_fields(entries, named)
    rows, columns = (*rows, *split_by), tuple(columns)
    kept, choices = choose_values(entries, rows, columns, axes) if axes else (entries, {})
    if baseline is not None:
        contrasts = (Contrast("variant", baseline), *contrasts)
    first = {"variant": (baseline,), **(order or {})}
    row_keys = sort_keys(group(kept, rows), rows, first)
    column_keys = sort_keys(group(kept, columns), columns, first)
    make_cell = _CellMaker(kept, rows, columns, planned is not None, published)
    cells = tuple(tuple(make_cell(row, column) for column in column_keys) for row in row_keys)
    comparisons, unmatched = _compare_all(cells, contrasts)
    absent = tuple(contrast for contrast in contrasts if not _has_reference(entries, contrast))
    return Table(
        rows=rows,
        columns=columns,
        row_values=tuple(tuple(map(value_of, key)) for key in row_keys),
        column_values=tuple(tuple(map(value_of, key)) for key in column_keys),
        cells=cells,
        choices=tuple(choices.get(_group_of(key, rows)) for key in row_keys) if axes else (),
        comparisons=comparisons,
        missing=sum(cell.missing for row in cells for cell in row if cell is not None),
        facts=Facts(
            _test_images(kept), _epochs(kept), _protocols(kept), split_by, planned is not None
        ),
        unmatched=unmatched,
        absent_references=absent,
        title=title,
        published=published,
    )


class _CellMaker:
    """Makes the cell of a row and a column."""

    def __init__(
        self,
        entries: Sequence[Entry],
        rows: tuple[str, ...],
        columns: tuple[str, ...],
        planned: bool,
        published: Published | None,
    ) -> None:
        self._rows, self._columns = rows, columns
        self._published = published
        self._groups = group(entries, (*rows, *columns))
        self._expected = None if planned else {entry.replicate for entry in entries}

    def __call__(self, row: Key, column: Key) -> Cell | None:
        entries = self._groups.get((*row, *column), [])
        if not entries and self._expected is None:
            return None
        fields = {**labelled(self._rows, row), **labelled(self._columns, column)}
        values = _values(entries, fields)
        expected = self._expected or {entry.replicate for entry in entries}
        common = _common_settings(entries)
        settings = {entry.setting for entry in entries}
        setting = settings.pop() if len(settings) == 1 else ""
        return Cell(
            fields=fields,
            values=values,
            estimate=estimate(values) if values else None,
            missing=len(expected - values.keys()),
            settings=common,
            setting=setting,
            keys=frozenset(entry.fields["key"] for entry in entries if entry.finished),
            published=self._published.beside(setting, common) if self._published else None,
        )


def _common_settings(entries: Iterable[Entry]) -> dict[str, Json]:
    """Return the settings that all ``entries`` have in common."""
    values = {name: {entry.fields[name] for entry in entries} for name in SETTINGS}
    return {name: found.pop() for name, found in values.items() if len(found) == 1}


def _values(entries: Iterable[Entry], fields: Mapping[str, Json]) -> dict[Replicate, float]:
    values: dict[Replicate, float] = {}
    for entry in entries:
        if entry.test is None:
            continue
        seed, network = entry.replicate
        if entry.replicate in values:
            msg = (
                f"seed {seed}, network {network} was evaluated more than once for {fields}, and "
                f"the records don't say what differs; make one table per set of records"
            )
            raise ConfigError(msg)
        values[entry.replicate] = entry.test
    return values


def _compare_all(
    cells: Iterable[Iterable[Cell | None]], contrasts: Iterable[Contrast]
) -> tuple[tuple[Comparison, ...], int]:
    present = [cell for row in cells for cell in row if cell is not None]
    results = [compare(present, contrast) for contrast in contrasts]
    comparisons = [comparison for found, _ in results for comparison in found]
    return _adjusted(comparisons), sum(unmatched for _, unmatched in results)


def _adjusted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return ``comparisons`` with their p values adjusted over all of them."""
    found = {
        index: comparison.difference.p
        for index, comparison in enumerate(comparisons)
        if comparison.difference.p is not None
    }
    adjusted = dict(zip(found, holm(list(found.values())), strict=True))
    return tuple(
        replace(comparison, adjusted_p=adjusted.get(index))
        for index, comparison in enumerate(comparisons)
    )


def _group_of(key: Key, rows: Sequence[str]) -> Key:
    return key_of(labelled(rows, key), choice_fields(rows))


def _has_reference(entries: Iterable[Entry], contrast: Contrast) -> bool:
    return any(entry.fields.get(contrast.field) == contrast.reference for entry in entries)


def _test_images(entries: Iterable[Entry]) -> tuple[int, ...]:
    return tuple(sorted({entry.fields["test_images"] for entry in entries if entry.finished}))


def _epochs(entries: Iterable[Entry]) -> dict[str, tuple[int, ...]]:
    epochs: dict[str, set[int]] = {}
    for entry in entries:
        if entry.finished:
            epochs.setdefault(entry.fields["mode"], set()).add(entry.fields["epochs"])
    return {mode: tuple(sorted(epochs[mode])) for mode in MODES if mode in epochs}


def _protocols(entries: Iterable[Entry]) -> tuple[str, ...]:
    return tuple(sorted({entry.fields["protocol"] for entry in entries}))


def _check_names_once(names: Sequence[str]) -> None:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        msg = (
            f"{repeated[0]!r} is used twice; each field can be a row, a column or chosen on "
            f"validation, and only one of them"
        )
        raise ConfigError(msg)
