"""Tables for programs: long CSV and JSON, with accuracies in [0, 1] and nothing rounded."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pdd_analysis.best import best_cells
from pdd_analysis.notes import caption, notes
from pdd_analysis.statistics import CONFIDENCE

if TYPE_CHECKING:
    from pdd_analysis.cells import Cell, Choice, Comparison, Table
    from pdd_analysis.published import PublishedResult
    from pdd_analysis.statistics import Difference, Estimate

SCHEMA = "pdd-ray/table/1"
"""Names the layout of the JSON form; changes when a reader has to change."""

_NUMBERS = (
    "mean",
    "std",
    "n",
    "n_seeds",
    "low",
    "high",
    "interval_over",
    "missing",
    "p",
    "p_holm",
)


def to_csv(table: Table) -> str:
    """Return one line per cell, per published number beside one, and per paired difference.

    The column ``quantity`` says which: accuracy, published or difference.
    """
    axes = _chosen_axes(table)
    names = (*table.rows, *table.columns, *axes)
    file = io.StringIO()
    writer = csv.DictWriter(
        file, ("quantity", "comparison", *names, *_NUMBERS), restval="", lineterminator="\n"
    )
    writer.writeheader()
    for line in (*_cell_lines(table), *map(_difference_line, table.comparisons)):
        writer.writerow({name: _text(value) for name, value in line.items()})
    return file.getvalue()


def to_json(table: Table) -> str:
    """Return everything that ``table`` holds; ``schema`` names the layout."""
    best = best_cells(table)
    content = {
        "schema": SCHEMA,
        "caption": caption(table),
        "accuracy": {
            "split": "test",
            "protocols": table.facts.protocols,
            "unit": "fraction",
            "ddof": 1,
        },
        "confidence": CONFIDENCE,
        "rows": table.rows,
        "columns": table.columns,
        "cells": [
            _cell_content(cell, table.choices[index] if table.choices else None, best)
            for index, row in enumerate(table.cells)
            for cell in row
            if cell is not None
        ],
        "choices": [asdict(choice) for choice in _unique(table.choices)],
        "comparisons": [asdict(comparison) for comparison in table.comparisons],
        "missing": table.missing,
        "facts": asdict(table.facts),
        "notes": notes(table),
    }
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _cell_content(cell: Cell, choice: Choice | None, best: set[int]) -> dict[str, Any]:
    published = cell.published
    content = {
        "fields": cell.fields,
        "chosen": None if choice is None else choice.chosen.values,
        "estimate": None if cell.estimate is None else asdict(cell.estimate),
        "missing": cell.missing,
        "best": id(cell) in best,
        "evaluations": [
            {"seed": seed, "network": network, "test_accuracy": accuracy}
            for (seed, network), accuracy in sorted(cell.values.items())
        ],
    }
    if published is None:
        return content
    numbers = {"mean": published.mean, "std": published.std, "unit": "percent", "ddof": 0}
    return {**content, "published": {"source": published.source, **numbers}}


def _unique(choices: tuple[Choice | None, ...]) -> list[Choice]:
    return list({id(choice): choice for choice in choices if choice is not None}.values())


def _chosen_axes(table: Table) -> tuple[str, ...]:
    choices = _unique(table.choices)
    return tuple(choices[0].chosen.values) if choices else ()


def _cell_lines(table: Table) -> list[dict[str, Any]]:
    lines = []
    for index, row in enumerate(table.cells):
        choice = table.choices[index] if table.choices else None
        chosen = {} if choice is None else choice.chosen.values
        for cell in row:
            if cell is None:
                continue
            labels = {**cell.fields, **chosen}
            lines.append(
                {"quantity": "accuracy", **labels, **_numbers(cell.estimate)}
                | {"missing": cell.missing}
            )
            if cell.published is not None:
                lines.append({"quantity": "published", **labels, **_printed(cell.published)})
    return lines


def _printed(published: PublishedResult) -> dict[str, Any]:
    """Return a published number as a fraction; in percent it has one decimal."""
    std = published.std
    return {
        "mean": round(published.mean / 100, 3),
        "std": None if std is None else round(std / 100, 3),
    }


def _difference_line(comparison: Comparison) -> dict[str, Any]:
    return {
        "quantity": "difference",
        "comparison": f"{comparison.field}: {_text(comparison.first)} - {_text(comparison.second)}",
        comparison.field: comparison.first,
        **comparison.fields,
        **_numbers(comparison.difference),
        "p_holm": comparison.adjusted_p,
    }


def _numbers(result: Estimate | Difference | None) -> dict[str, Any]:
    if result is None:
        return {"n": 0}
    values = asdict(result)
    interval = values.pop("interval") or {}
    ends = {"low": interval.get("low"), "high": interval.get("high")}
    return {**values, **ends, "interval_over": interval.get("unit")}


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
