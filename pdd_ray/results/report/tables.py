"""The table of the sweep, and the ready-made ones that its evaluations can fill, as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from pdd_analysis.rendering import render
from pdd_ray.core.errors import ConfigError
from pdd_ray.results.tables import TableData, comparison_table, sweep_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdd_ray.core.records import Record
    from pdd_ray.results.report.snapshot import Snapshot

TITLES = {
    None: "The sweep's table",
    "modes": "Progressive, union and sequential evaluation",
    "growth": "Accuracy after each stage",
    "stages": "Numbers of stages at equal total images per class",
}


@dataclass(frozen=True)
class TableSection:
    """A table.

    Attributes:
        title: What it shows.
        fragment: It as HTML, every table in a box of its own; empty if it can't be made.
        problem: Why it can't be made; empty if it can.
        comparison: Its name among the ready-made ones; None for the sweep's own.
    """

    title: str
    fragment: str
    problem: str
    comparison: str | None


def read_tables(snapshot: Snapshot) -> list[TableSection]:
    """Return the tables of the sweep; none as long as no evaluation is finished."""
    if not snapshot.finished:
        return []
    names = (None, *applicable(snapshot.planned))
    try:
        data = TableData.of(snapshot.sweep, snapshot.planned, snapshot.finished)
    except ConfigError as error:
        return [TableSection(TITLES[name], "", str(error), name) for name in names]
    return [_table(data, name) for name in names]


def applicable(planned: tuple[Record, ...]) -> Iterator[str]:
    """Yield the names of the ready-made tables that say something about these evaluations."""
    distilled = [record for record in planned if record.stages > 0]
    if len({record.mode for record in distilled}) > 1:
        yield "modes"
    if any(record.stages < record.total_stages for record in distilled):
        yield "growth"
    totals = {record.total_images_per_class for record in distilled if _complete(record)}
    if any(_stage_numbers(distilled, total) > 1 for total in totals):
        yield "stages"


def _complete(record: Record) -> bool:
    return record.stages == record.total_stages


def _stage_numbers(records: list[Record], total: int) -> int:
    """Return how many numbers of stages lead to ``total`` images per class."""
    complete = [record for record in records if _complete(record)]
    return len({one.stages for one in complete if one.total_images_per_class == total})


def _table(data: TableData, comparison: str | None) -> TableSection:
    title = TITLES[comparison]
    try:
        table = comparison_table(data, comparison) if comparison else sweep_table(data)
        fragment = render(table, "html")
    except ConfigError as error:
        return TableSection(title, "", str(error), comparison)
    return TableSection(title, _boxed(fragment, title), "", comparison)


def _boxed(fragment: str, title: str) -> str:
    """Return ``fragment`` with its tables in boxes that scroll by themselves.

    All text in it is escaped, so that only tags are found.
    """
    box = f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}">'
    return fragment.replace("<table", f"{box}\n<table").replace("</table>", "</table>\n</div>")
