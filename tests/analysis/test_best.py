"""What is in bold: the best of a column, and what can't be told from it."""

import pytest

from pdd_analysis.best import best_cells
from pdd_analysis.tables import make_table
from pdd_ray.core.records import Record
from tests.analysis.builders import record


def bold(records: list[Record]) -> set[str]:
    """Return the variants in bold of a table with one column."""
    table = make_table(records, ("variant",), ("mode",))
    best = best_cells(table)
    return {
        str(row[0])
        for row, cells in zip(table.row_values, table.cells, strict=True)
        for cell in cells
        if id(cell) in best
    }


def repeated(variant: str, *accuracies: float, first_seed: int = 0) -> list[Record]:
    return [
        record(accuracy, variant=variant, seed=first_seed + index)
        for index, accuracy in enumerate(accuracies)
    ]


def test_a_cell_ties_if_its_paired_difference_to_the_best_has_an_interval_with_zero() -> None:
    best = repeated("best", 0.70, 0.80, 0.90)
    tied = repeated("tied", 0.69, 0.81, 0.88)
    assert bold([*best, *tied]) == {"best", "tied"}


def test_a_small_difference_that_every_seed_shows_is_no_tie_however_wide_the_spread() -> None:
    best = repeated("best", 0.70, 0.80, 0.90)
    worse = repeated("worse", 0.69, 0.791, 0.889)
    assert bold([*best, *worse]) == {"best"}


def test_cells_without_shared_seeds_tie_only_by_equal_means() -> None:
    best = repeated("best", 0.5, 0.7)
    near = repeated("near", 0.5, 0.69, first_seed=2)
    equal = repeated("equal", 0.7, 0.5, first_seed=2)
    assert bold([*best, *near, *equal]) == {"best", "equal"}


def test_single_evaluations_tie_only_by_equal_accuracies() -> None:
    assert bold([*repeated("a", 0.5), *repeated("b", 0.5), *repeated("c", 0.499)]) == {"a", "b"}


def test_with_one_seed_networks_are_paired() -> None:
    def networks(variant: str, *accuracies: float) -> list[Record]:
        return [
            record(value, variant=variant, network=index) for index, value in enumerate(accuracies)
        ]

    assert bold([*networks("a", 0.5, 0.6, 0.7), *networks("b", 0.51, 0.59, 0.68)]) == {"a", "b"}
    assert bold([*networks("a", 0.5, 0.6, 0.7), *networks("b", 0.49, 0.59, 0.69)]) == {"a"}


@pytest.mark.parametrize("changes", [{"classes": 100}, {"dataset": "cifar10"}])
def test_results_on_different_data_do_not_compete(changes: dict[str, object]) -> None:
    assert bold([record(0.9, variant="a"), record(0.3, variant="b", **changes)]) == set()


def test_training_on_all_images_does_not_compete() -> None:
    table = make_table(
        [
            record(0.9, variant="full", mode="full", stages=0, total_stages=0),
            record(0.5, variant="a"),
            record(0.4, variant="b"),
        ],
        ("variant", "mode"),
        (),
    )
    best = best_cells(table)
    assert [id(cells[0]) in best for cells in table.cells] == [True, False, False]
