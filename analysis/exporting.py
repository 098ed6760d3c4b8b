"""Tables for programs: long CSV and JSON, with accuracies in [0, 1] and nothing rounded."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from analysis.notes import notes
from analysis.statistics import CONFIDENCE

if TYPE_CHECKING:
    from analysis.cells import Cell, Choice, Comparison, Table
    from analysis.statistics import Difference, Estimate

SCHEMA = "pdd-ray/table/1"
"""Names the layout of the JSON form; changes when a reader has to change."""

_NUMBERS = ("mean", "std", "n", "n_seeds", "low", "high", "interval_over", "missing")


def to_csv(table: Table) -> str:
    """Return one line per cell (``quantity`` accuracy) and per paired difference."""
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
    content = {
        "schema": SCHEMA,
        "accuracy": {"split": "test", "epoch": "last", "unit": "fraction", "ddof": 1},
        "confidence": CONFIDENCE,
        "rows": table.rows,
        "columns": table.columns,
        "cells": [
            _cell_content(cell, table.choices[index] if table.choices else None)
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


def _cell_content(cell: Cell, choice: Choice | None) -> dict[str, Any]:
    return {
        "fields": cell.fields,
        "chosen": None if choice is None else choice.chosen.values,
        "estimate": None if cell.estimate is None else asdict(cell.estimate),
        "missing": cell.missing,
        "evaluations": [
            {"seed": seed, "network": network, "test_accuracy": accuracy}
            for (seed, network), accuracy in sorted(cell.values.items())
        ],
    }


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
        lines += [
            {"quantity": "accuracy", **cell.fields, **chosen, **_numbers(cell.estimate)}
            | {"missing": cell.missing}
            for cell in row
            if cell is not None
        ]
    return lines


def _difference_line(comparison: Comparison) -> dict[str, Any]:
    return {
        "quantity": "difference",
        "comparison": f"{comparison.field}: {_text(comparison.first)} - {_text(comparison.second)}",
        comparison.field: comparison.first,
        **comparison.fields,
        **_numbers(comparison.difference),
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
