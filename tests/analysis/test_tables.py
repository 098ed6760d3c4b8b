"""Facts about tables: what cells hold, what is chosen, compared and missing."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdd_analysis.comparisons import growth, modes, stages_versus_images_per_class
from pdd_analysis.statistics import holm
from pdd_analysis.tables import Contrast, Table, make_table, render
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.records import Record
from tests.analysis.builders import record, sweep
from tests.effort import python_calls

AXIS = "method.max_start_epoch"


def accuracy_of(table: Table, row: int = 0, column: int = 0) -> float:
    cell = table.cells[row][column]
    assert cell is not None
    assert cell.estimate is not None
    return cell.estimate.mean


def candidates(results: dict[int, tuple[float, float]], **changes: object) -> list[Record]:
    """Return records of an axis: value -> (validation accuracy, test accuracy)."""
    return [
        record(test, validation_accuracy=validation, axes={AXIS: value}, network=network, **changes)
        for value, (validation, test) in results.items()
        for network in range(2)
    ]


@settings(max_examples=15, deadline=None)
@given(st.randoms(), st.sampled_from(["md", "csv", "json"]))
def test_the_order_of_records_does_not_matter(random: Random, form: str) -> None:
    records = [replace(item, axes={AXIS: 4}) for item in sweep()] + [
        replace(item, axes={AXIS: 10}, key=item.key + "+") for item in sweep()
    ]
    shuffled = random.sample(records, len(records))
    expected, got = (
        render(
            make_table(items, ("variant", "stages"), ("mode",), baseline="mtt", choose=(AXIS,)),
            form,
        )
        for items in (records, shuffled)
    )
    assert got == expected


def test_a_cell_holds_all_networks_of_all_seeds() -> None:
    table = make_table(sweep(seeds=2, networks=3), ("variant", "stages"), ("mode",))
    for row in table.cells:
        for cell in row:
            assert cell is not None
            assert cell.estimate is not None
            assert (cell.estimate.n, cell.estimate.n_seeds, cell.missing) == (6, 2, 0)


def test_rows_are_sorted_by_number_and_modes_as_the_paper_tells_them() -> None:
    records = [
        record(stages=p, total_stages=10, mode=m) for p in (10, 2) for m in ("union", "progressive")
    ]
    table = make_table(records, ("stages",), ("mode",))
    assert table.row_values == ((2,), (10,))
    assert table.column_values == (("progressive",), ("union",))


def test_values_given_as_order_come_first() -> None:
    records = [record(variant=name) for name in ("a", "b", "c")]
    table = make_table(records, ("variant",), ("mode",), order={"variant": ["c", "a"]})
    assert table.row_values == (("c",), ("a",), ("b",))


def test_settings_that_vary_inside_cells_split_the_rows() -> None:
    records = [record(0.2, model="a"), record(0.8, model="b")]
    table = make_table(records, ("variant",), ("mode",))
    assert table.rows == ("variant", "model")
    assert [accuracy_of(table, 0), accuracy_of(table, 1)] == [0.2, 0.8]
    assert "Rows are split by model" in render(table)


def test_axis_values_one_and_true_are_different_settings() -> None:
    records = [record(axes={"x": 1}), record(axes={"x": True}), record(axes={"x": [1, 2]})]
    assert len(make_table(records, ("x",), ("mode",)).row_values) == 3


def test_an_axis_named_like_a_field_does_not_hide_the_field() -> None:
    records = [record(axes={"stages": {"count": 2, "images_per_class": 5}})]
    table = make_table(records, ("stages", "grid.stages"), ("mode",))
    assert table.row_values == ((2, {"count": 2, "images_per_class": 5}),)


def test_repeated_records_count_once() -> None:
    item = record()
    cell = make_table([item, item], ("variant",), ("mode",)).cells[0][0]
    assert cell is not None
    assert cell.estimate is not None
    assert cell.estimate.n == 1


def test_records_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="seed 0, network 0 was evaluated more than once"):
        make_table([record(key="a"), record(key="b")], ("variant",), ("mode",))


@pytest.mark.parametrize(
    ("rows", "columns", "choose", "message"),
    [
        (("varient",), ("mode",), None, "did you mean 'variant'"),
        (("variant",), ("variant",), None, "'variant' is used twice"),
        (("variant", AXIS), ("mode",), (AXIS,), "is used twice"),
    ],
)
def test_wrong_fields_are_refused_with_a_hint(
    rows: tuple[str, ...], columns: tuple[str, ...], choose: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_table(candidates({4: (0.5, 0.5)}), rows, columns, choose=choose)


@given(
    st.dictionaries(
        st.integers(1, 50),
        st.tuples(st.floats(0, 1, width=16), st.floats(0, 1, width=16)),
        min_size=2,
        max_size=5,
    )
)
def test_the_choice_follows_validation_whatever_the_test_accuracies_are(
    results: dict[int, tuple[float, float]],
) -> None:
    table = make_table(candidates(results), ("variant",), ("mode",), choose=(AXIS,))
    choice = table.choices[0]
    assert choice is not None
    best = max(validation for validation, _ in results.values())
    kept = min(value for value, (validation, _) in results.items() if validation == best)
    assert choice.chosen.values == {AXIS: kept}
    assert accuracy_of(table) == pytest.approx(results[kept][1])


def test_the_choice_is_the_worst_on_test_if_validation_says_so() -> None:
    records = candidates({4: (0.9, 0.1), 10: (0.8, 0.99)})
    table = make_table(records, ("variant",), ("mode",), choose=(AXIS,))
    assert accuracy_of(table) == pytest.approx(0.1)
    assert "| pdd       | 4                                 |" in render(table)
    assert f"Chosen on validation, per row, never on test: {AXIS}" in render(table)


def test_a_row_shows_one_choice_in_all_columns_made_by_its_progressive_evaluations() -> None:
    records = [
        *candidates({4: (0.9, 0.5), 10: (0.8, 0.6)}, mode="progressive"),
        *candidates({4: (0.1, 0.5), 10: (0.99, 0.6)}, mode="union"),
    ]
    table = make_table(records, ("variant",), ("mode",), choose=(AXIS,))
    assert [accuracy_of(table, 0, 0), accuracy_of(table, 0, 1)] == [0.5, 0.5]
    by_row = make_table(records, ("variant", "mode"), (), choose=(AXIS,))
    assert [accuracy_of(by_row, 0), accuracy_of(by_row, 1)] == [0.5, 0.5]


def test_rows_choose_for_themselves() -> None:
    records = [
        *candidates({4: (0.9, 0.5), 10: (0.8, 0.6)}, variant="a"),
        *candidates({4: (0.1, 0.5), 10: (0.2, 0.6)}, variant="b"),
    ]
    table = make_table(records, ("variant",), ("mode",), choose=(AXIS,))
    assert [choice and choice.chosen.values[AXIS] for choice in table.choices] == [4, 10]


def test_candidates_with_missing_evaluations_are_not_considered_and_named() -> None:
    records = candidates({4: (0.9, 0.1), 10: (0.8, 0.2)})[1:]
    table = make_table(records, ("variant",), ("mode",), choose=(AXIS,))
    choice = table.choices[0]
    assert choice is not None
    assert choice.chosen.values == {AXIS: 10}
    assert [item.missing for item in choice.candidates] == [1, 0]
    assert "1 candidate not considered" in render(table)


def test_nothing_is_chosen_without_validation_accuracies() -> None:
    records = [replace(item, validation_accuracy=float("nan")) for item in candidates({4: (1, 1)})]
    with pytest.raises(ConfigError, match="no validation accuracy"):
        make_table(records, ("variant",), ("mode",), choose=(AXIS,))
    assert "Chosen on validation: nothing." in render(make_table(records, ("variant",), ("mode",)))


def test_settings_that_follow_the_chosen_axis_do_not_split_rows() -> None:
    records = [
        replace(item, epochs=100 * int(str(item.axes[AXIS])))
        for item in candidates({4: (0.9, 0.1), 10: (0.8, 0.2)})
    ]
    assert make_table(records, ("variant",), ("mode",), choose=(AXIS,)).rows == ("variant",)


def test_empty_and_incomplete_cells_are_shown_and_counted() -> None:
    records = [
        *(record(variant="a", network=n, mode=m) for n in (0, 1) for m in ("progressive", "union")),
        record(0.4, variant="b", network=0),
    ]
    table = make_table(records, ("variant",), ("mode",))
    text = render(table)
    assert "40.0 (n=1, 1 missing)" in text
    assert "missing (2)" in text
    assert "MISSING: 3 evaluations (1 cell without any, 1 incomplete), if every row" in text
    assert render(table, "csv").splitlines()[-1] == "accuracy,,b,union,,,0,,,,,2,,"


def test_with_a_plan_only_planned_evaluations_are_missed() -> None:
    planned = [record(variant=v, network=n) for v in ("a", "b") for n in (0, 1)]
    planned += [record(variant="a", mode="union")]
    table = make_table(planned[:1], ("variant",), ("mode",), planned=planned)
    assert table.missing == 4
    assert table.cells[1][1] is None
    assert "MISSING: 4 evaluations (2 cells without any, 1 incomplete)." in render(table)


def test_a_plan_without_results_is_a_table_of_missing_cells() -> None:
    planned = candidates({4: (0.9, 0.1), 10: (0.8, 0.2)})
    table = make_table([], ("variant",), ("mode",), choose=(AXIS,), planned=planned, baseline="x")
    assert table.missing == 2
    assert "missing (2)" in render(table)


@pytest.mark.parametrize("form", ["md", "csv", "latex", "html", "json"])
def test_no_records_make_an_empty_table(form: str) -> None:
    text = render(make_table([], ("variant",), ("mode",), baseline="mtt", choose=(AXIS,)), form)
    assert "No evaluation is recorded" in text or form == "csv"


def test_differences_to_the_baseline_are_paired_in_the_same_mode() -> None:
    records = [
        record(0.5 + 0.1 * seed + bonus + extra, variant=variant, seed=seed, mode=mode)
        for variant, bonus in (("base", 0.0), ("better", 0.02))
        for mode, extra in (("progressive", 0.0), ("union", 0.1))
        for seed in range(3)
    ]
    table = make_table(records, ("variant",), ("mode",), baseline="base")
    assert table.row_values[0] == ("base",)
    assert [item.fields["mode"] for item in table.comparisons] == ["progressive", "union"]
    for item in table.comparisons:
        assert (item.first, item.second, item.same_settings) == ("better", "base", True)
        assert item.difference.mean == pytest.approx(0.02)
        assert item.difference.interval is not None
        assert item.difference.interval.unit == "seeds"
    assert "better − base" in render(table)  # noqa: RUF001 - the sign that tables show


def test_stages_are_compared_with_one_stage_of_as_many_images() -> None:
    table = make_table(
        sweep(), ("variant", "stages", "images_per_class"), ("mode",), baseline="mtt"
    )
    assert {item.fields["stages"] for item in table.comparisons} == {3}
    assert not any(item.same_settings for item in table.comparisons)
    assert table.unmatched == 6
    assert "at the same total images per class; 6 cells without a counterpart" in render(table)


def test_a_baseline_without_results_is_named() -> None:
    table = make_table([record()], ("variant",), ("mode",), baseline="mtt")
    assert "No differences to variant 'mtt': no evaluations." in render(table)


def test_with_one_seed_differences_say_that_they_are_over_networks_of_one_set() -> None:
    text = render(modes(sweep(seeds=1)))
    assert "(3 networks, p=" in text
    assert "over the networks of one distilled set; they do not cover" in text


def test_the_comparison_of_modes_gives_progressive_minus_the_others() -> None:
    table = modes(sweep(seeds=3))
    assert {(item.first, item.second) for item in table.comparisons} == {
        ("progressive", "union"),
        ("progressive", "sequential"),
    }
    by_mode = {item.second: item.difference.mean for item in table.comparisons}
    assert by_mode["union"] == pytest.approx(0.05, abs=0.02)
    assert by_mode["sequential"] == pytest.approx(0.10, abs=0.02)
    assert len(table.comparisons) == 2 * len(table.row_values)


def test_the_comparison_of_stages_keeps_complete_sets_and_compares_with_one_stage() -> None:
    table = stages_versus_images_per_class(sweep())
    assert table.row_values == (("mtt", 6, 1, 6), ("mtt", 6, 3, 2))
    assert [(item.first, item.second) for item in table.comparisons] == [(3, 1)] * 3


def test_growth_compares_every_stage_with_the_first_at_the_same_images_per_class() -> None:
    several = [record(stages=p, total_stages=3, seed=s) for p in (1, 2, 3) for s in (0, 1)]
    table = growth(several)
    assert [row[-1] for row in table.row_values] == [1, 2, 3]
    assert [(item.first, item.second) for item in table.comparisons] == [(2, 1), (3, 1)]


def test_contrasts_of_a_field_that_is_not_shown_are_left_out() -> None:
    table = make_table([record()], ("variant",), (), contrasts=[Contrast("mode", "union")])
    assert table.comparisons == ()


def test_json_has_a_schema_and_every_evaluation() -> None:
    content = json.loads(render(make_table(sweep(), ("variant", "stages"), ("mode",)), "json"))
    assert content["schema"] == "pdd-ray/table/1"
    accuracies = [e["test_accuracy"] for c in content["cells"] for e in c["evaluations"]]
    assert sorted(accuracies) == sorted(item.test_accuracy for item in sweep())


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown table format 'xls'; allowed: md, csv"):
        render(make_table([record()], ("variant",), ("mode",)), "xls")


def test_making_a_table_is_quick_and_loads_neither_torch_nor_ray() -> None:
    program = (
        "import sys\n"
        "from pdd_analysis import comparisons, images, layouts, loading, published, plots\n"
        "from pdd_analysis.tables import make_table, render\n"
        "from tests.analysis.builders import sweep\n"
        "table = make_table(sweep(), ('variant', 'stages'), ('mode',), baseline='mtt')\n"
        "for form in ('md', 'csv', 'html', 'json'): render(table, form)\n"
        "print({'torch', 'ray', 'pandas', 'matplotlib', 'PIL'} & set(sys.modules))\n"
        "render(table, 'latex')\n"
        "print({'torch', 'ray'} & set(sys.modules))\n"
    )
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert result.stdout == "set()\nset()\n"


def test_the_effort_of_a_table_grows_with_the_number_of_records() -> None:
    def effort(copies: int) -> int:
        records = [
            replace(item, variant=f"{item.variant}-{copy}", key=f"{item.key}-{copy}")
            for item in sweep(seeds=3, networks=5)
            for copy in range(copies)
        ]
        return python_calls(
            lambda: render(make_table(records, ("variant", "stages"), ("mode",), baseline="mtt-0"))
        )

    effort(1)  # what is done once in a process
    assert effort(8) / effort(2) < 1.2 * 4


def test_variants_without_the_chosen_axis_show_that_they_have_none() -> None:
    records = [*candidates({4: (0.9, 0.1), 10: (0.8, 0.2)}), record(variant="random")]
    table = make_table(records, ("variant",), ("mode",), choose=(AXIS,))
    choices = {
        values[0]: choice for values, choice in zip(table.row_values, table.choices, strict=True)
    }
    assert {name: c and c.chosen.values[AXIS] for name, c in choices.items()} == {
        "pdd": 4,
        "random": None,
    }


def test_p_values_are_adjusted_over_all_comparisons_of_a_table() -> None:
    table = modes(sweep(seeds=3))
    tested = [item.difference.p for item in table.comparisons]
    assert None not in tested
    assert [item.adjusted_p for item in table.comparisons] == holm([p or 0.0 for p in tested])
    text = render(table)
    assert f"adjusted by Holm over the {len(tested)} comparisons of this table" in text
    assert re.search(r"\(3 seeds, p(=0\.[0-9]{3}|\\<0\.001)\)", text)


def test_comparisons_of_single_pairs_have_no_p_and_do_not_count() -> None:
    table = make_table(
        [record(0.5, variant="a"), record(0.6, variant="b")], ("variant",), ("mode",), baseline="a"
    )
    assert [item.adjusted_p for item in table.comparisons] == [None]
    assert "(one pair)" in render(table)
    assert "Holm" not in render(table)


def test_cells_that_share_their_evaluations_are_not_compared() -> None:
    shared = [
        record(0.5, mode=mode, stages=1, seed=seed, key=f"the same {seed}")
        for mode in ("progressive", "union", "sequential")
        for seed in (0, 1)
    ]
    table = modes([*shared, *sweep(seeds=2)])
    compared = {(item.fields["variant"], item.fields["stages"]) for item in table.comparisons}
    assert ("pdd", 1) in compared  # of the sweep: one image per class and stage more
    assert all(item.fields["images_per_class"] != 5 for item in table.comparisons)
    assert table.unmatched == 0


def test_all_real_images_have_no_counterpart_among_stages_and_are_not_missed() -> None:
    full = record(
        0.9,
        mode="full",
        method="full",
        variant="full",
        stages=0,
        total_stages=0,
        images_per_class=0,
    )
    records = [record(0.5, stages=p, total_stages=2) for p in (1, 2)]
    table = growth([full, *records])
    assert [(item.first, item.second) for item in table.comparisons] == [(2, 1)]
    assert table.unmatched == 0


@pytest.mark.parametrize("name", ["test_accuracy", "cost_seconds"])
def test_results_make_no_rows(name: str) -> None:
    with pytest.raises(ConfigError, match=f"can't be laid out by '{name}': it is a result"):
        make_table([record()], (name,), ("mode",))


def test_data_of_one_name_with_other_classes_or_images_are_not_mixed() -> None:
    records = [record(0.2, classes=10), record(0.3, classes=100)]
    assert make_table(records, ("variant",), ("mode",)).rows == ("variant", "classes")
    records = [record(0.2, train_images=10), record(0.3, train_images=100)]
    assert make_table(records, ("variant",), ("mode",)).rows == ("variant", "train_images")
