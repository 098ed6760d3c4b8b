"""What a table consists of: cells, choices made on validation, comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_analysis.published import Published, PublishedResult
    from pdd_analysis.statistics import Difference, Estimate, Replicate
    from pdd_ray.core.identities import Json


@dataclass(frozen=True)
class Cell:
    """The evaluations of one row and one column.

    Attributes:
        fields: Values of the table's row and column fields.
        values: Test accuracy in [0, 1] by (seed, network).
        estimate: Their summary; None if there are none.
        missing: Evaluations that should be there and are not.
        settings: Everything that says what was evaluated and is the same for all evaluations,
            by field.
        setting: Variant and axes, as ``pdd_analysis.fields.setting_key``; empty if not the same.
        keys: Identities of the evaluations.
        published: What the paper prints for this setting; None if nothing.
    """

    fields: Mapping[str, Json]
    values: Mapping[Replicate, float]
    estimate: Estimate | None
    missing: int
    settings: Mapping[str, Json]
    setting: str
    keys: frozenset[str]
    published: PublishedResult | None = None


@dataclass(frozen=True)
class Candidate:
    """Values that could have been chosen.

    Attributes:
        values: The value of each axis.
        validation: Mean validation accuracy in [0, 1]; None if it was not considered.
        n: Number of evaluations behind it.
        missing: Evaluations that another candidate has and this one does not. Candidates that
            miss some are not considered.
    """

    values: Mapping[str, Json]
    validation: float | None
    n: int
    missing: int


@dataclass(frozen=True)
class Choice:
    """The axis values kept in some rows, chosen by mean validation accuracy.

    Attributes:
        group: Field values of the rows for which the choice was made.
        chosen: The candidate kept.
        candidates: All candidates in table order, the chosen one among them.
        mode: The mode whose evaluations decided; None if all of them did.
    """

    group: Mapping[str, Json]
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    mode: str | None


@dataclass(frozen=True)
class Comparison:
    """The paired difference between two cells, ``first`` minus ``second``.

    Attributes:
        field: The field in which they differ.
        first: Its value in the first cell.
        second: Its value in the second cell, the reference.
        fields: The first cell's row and column values without ``field``.
        difference: The difference of test accuracies, in [-1, 1].
        same_settings: Whether all other row and column values are equal. If not, the cells have
            the same total number of images per class, made in different stages.
        adjusted_p: The difference's p value, adjusted by Holm over the table's comparisons.
    """

    field: str
    first: Json
    second: Json
    fields: Mapping[str, Json]
    difference: Difference
    same_settings: bool
    adjusted_p: float | None = None


@dataclass(frozen=True)
class Contrast:
    """A comparison to make: every cell against the one that has ``reference`` in ``field``.

    Attributes:
        field: A row or column field, e.g. ``variant``.
        reference: Its value in the cells that are subtracted.
        first: Its value in the cells that are subtracted from; None: all other values.
    """

    field: str
    reference: Json
    first: Json = None


@dataclass(frozen=True)
class Facts:
    """What held for all evaluations of a table.

    Attributes:
        test_images: Sizes of the test splits that occur.
        epochs: Epochs per stage that occur, by mode.
        protocols: Protocols that occur, ``held_out`` before ``reference``.
        split_by: Fields added to the rows because they vary inside cells.
        plan_known: Whether what is missing was planned, or supposed.
    """

    test_images: tuple[int, ...]
    epochs: Mapping[str, tuple[int, ...]]
    protocols: tuple[str, ...]
    split_by: tuple[str, ...]
    plan_known: bool


@dataclass(frozen=True)
class Table:
    """Accuracies by row and column.

    Attributes:
        rows: Names of the row fields.
        columns: Names of the column fields.
        row_values: Values of the row fields, one tuple per row.
        column_values: Values of the column fields, one tuple per column.
        cells: ``cells[row][column]``; a cell that was neither recorded nor planned is None.
        choices: For every row the choice that it shows, None in rows without results; empty if
            nothing was to be chosen.
        comparisons: Paired differences.
        missing: Evaluations missing in all cells together.
        facts: What held for all evaluations.
        unmatched: Cells for which a comparison found no reference.
        absent_references: Contrasts with a reference of which there is no evaluation at all.
        title: What the table shows, for its caption; empty if its fields say it.
        published: The table of the paper that it is shown beside, if any.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_values: tuple[tuple[Json, ...], ...]
    column_values: tuple[tuple[Json, ...], ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    choices: tuple[Choice | None, ...]
    comparisons: tuple[Comparison, ...]
    missing: int
    facts: Facts
    unmatched: int
    absent_references: tuple[Contrast, ...]
    title: str = ""
    published: Published | None = None
