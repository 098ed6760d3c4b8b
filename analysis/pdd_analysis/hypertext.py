"""Tables as HTML: a fragment for a page, without styles of its own."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from pdd_analysis.notes import caption, notes
from pdd_analysis.texts import cell_grid, difference_grid

if TYPE_CHECKING:
    from pdd_analysis.cells import Table
    from pdd_analysis.texts import Grid, Text


def to_html(table: Table) -> str:
    """Return one or two ``<table>`` elements with captions, and the notes as a list."""
    parts = [
        _element(grid, title)
        for grid, title in (
            (cell_grid(table), caption(table)),
            (difference_grid(table), "Paired differences"),
        )
        if grid.lines
    ]
    items = "\n".join(f"<li>{escape(note)}</li>" for note in notes(table))
    return "\n".join([*parts, f'<ul class="notes">\n{items}\n</ul>']) + "\n"


def _element(grid: Grid, title: str) -> str:
    header = "".join(f'<th scope="col">{escape(name)}</th>' for name in grid.header)
    lines = "\n".join(_line(line, grid.labels) for line in grid.lines)
    return (
        f'<table class="results">\n<caption>{escape(title)}</caption>\n'
        f"<thead>\n<tr>{header}</tr>\n</thead>\n<tbody>\n{lines}\n</tbody>\n</table>"
    )


def _line(texts: tuple[Text, ...], labels: int) -> str:
    cells = [
        f'<th scope="row">{_inline(text)}</th>' if index < labels else f"<td>{_inline(text)}</td>"
        for index, text in enumerate(texts)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _inline(text: Text) -> str:
    strong = f"<strong>{escape(text.strong)}</strong>" if text.strong else ""
    return strong + escape(text.plain)
