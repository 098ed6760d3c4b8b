"""Tables as text: Markdown, LaTeX and HTML for readers, CSV and JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.exporting import to_csv, to_json
from pdd_analysis.fields import NOTHING
from pdd_analysis.hypertext import to_html
from pdd_analysis.notes import caption, notes
from pdd_analysis.texts import MINUS, cell_grid, difference_grid
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdd_analysis.cells import Table
    from pdd_analysis.texts import Grid, Text

_MARKDOWN = str.maketrans({"|": r"\|", "*": r"\*", "<": r"\<", "\n": " "})

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        MINUS: "$-$",
        NOTHING: "--",
        "\n": " ",
    }
)


def render(table: Table, form: str = "md") -> str:
    """Return ``table`` as text that ends in a newline.

    Args:
        table: The table.
        form: ``md`` (GitHub's Markdown), ``latex`` (needs the package booktabs), ``html`` (a
            fragment for a page), ``csv`` (one line per cell, per difference and per published
            number, accuracies in [0, 1], unrounded) or ``json``.

    Raises:
        ConfigError: for another form.
    """
    if form not in FORMS:
        msg = f"unknown table format {form!r}; allowed: {', '.join(FORMS)}"
        raise ConfigError(msg)
    return FORMS[form](table)


def _to_markdown(table: Table) -> str:
    parts = [
        *(_pipe_table(grid) for grid in (cell_grid(table), difference_grid(table)) if grid.lines),
        caption(table).translate(_MARKDOWN),
        "\n".join(f"- {note.translate(_MARKDOWN)}" for note in notes(table)),
    ]
    return "\n\n".join(parts) + "\n"


def _pipe_table(grid: Grid) -> str:
    from tabulate import tabulate

    return tabulate(
        [[_markdown(text) for text in line] for line in grid.lines],
        headers=[name.translate(_MARKDOWN) for name in grid.header],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left"] * grid.labels + ["right"] * (len(grid.header) - grid.labels),
    )


def _markdown(text: Text) -> str:
    strong = f"**{text.strong.translate(_MARKDOWN)}**" if text.strong else ""
    return strong + text.plain.translate(_MARKDOWN)


def _to_latex(table: Table) -> str:
    grids = [grid for grid in (cell_grid(table), difference_grid(table)) if grid.lines]
    sentences = (caption(table), *notes(table))
    parts = [
        "\n\\par\\medskip\n".join(_booktabs(grid).rstrip("\n") for grid in grids),
        *(f"\\par\\noindent{{\\footnotesize {note.translate(_LATEX)}}}" for note in sentences),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _booktabs(grid: Grid) -> str:
    import pandas as pd

    frame = pd.DataFrame(
        [[_latex(text) for text in line] for line in grid.lines],
        columns=[name.translate(_LATEX) for name in grid.header],
    )
    aligned = "l" * grid.labels + "r" * (len(grid.header) - grid.labels)
    text = frame.style.hide(axis="index").to_latex(hrules=True, column_format=aligned)
    return str(text)


def _latex(text: Text) -> str:
    strong = f"\\textbf{{{text.strong.translate(_LATEX)}}}" if text.strong else ""
    marked = strong + text.plain.translate(_LATEX)
    # after the end of a row these would be read as arguments of it
    return "{}" + marked if marked.startswith(("[", "*")) else marked


FORMS: dict[str, Callable[[Table], str]] = {
    "md": _to_markdown,
    "csv": to_csv,
    "latex": _to_latex,
    "html": to_html,
    "json": to_json,
}
"""How a table is written, by the name of the format."""
