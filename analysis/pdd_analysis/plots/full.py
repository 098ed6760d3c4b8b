"""Networks trained on all real images, for comparison with distilled sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.plots.style import label_of, varying
from pdd_analysis.tables import make_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdd_analysis.cells import Table
    from pdd_analysis.statistics import Estimate
    from pdd_ray.core.records import Record


def table_of_full(records: Sequence[Record]) -> Table:
    """Return the evaluations of mode full, a row for each network and data set.

    Variants share these trainings: each counts once.
    """
    return make_table(records, rows=("mode", "model", "dataset", "classes"), columns=())


def labelled_full(table: Table) -> list[tuple[str, Estimate, frozenset[str]]]:
    """Return label, estimate and keys of the rows of :func:`table_of_full` that have results."""
    names = varying(table.rows[1:], [row[1:] for row in table.row_values])
    found = []
    for row, cells in zip(table.row_values, table.cells, strict=True):
        cell = cells[0]
        if cell is not None and cell.estimate is not None:
            values = dict(zip(table.rows, row, strict=True))
            which = f" ({label_of(values, names)})" if len(table.row_values) > 1 else ""
            found.append((f"all real images{which}", cell.estimate, cell.keys))
    return found
