"""The published numbers are those of the paper, and are found only for the paper's settings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdd_analysis.fields import setting_key
from pdd_analysis.layouts import LAYOUTS, lay_out, layout_of
from pdd_analysis.published import (
    METHODS,
    Published,
    PublishedResult,
    SettingComparison,
    find,
    results,
)
from pdd_analysis.tables import Table, make_table, render
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.records import Record
from tests.analysis.builders import record

SPECIFICATION = Path(__file__).resolve().parents[3] / "shared" / "spec" / "paper_tables.json"
PLAIN = SettingComparison()
PAPER: dict[str, Any] = {"dataset": "cifar10", "model": "convnet-w128-d3", "classes": 10}


def settings(stages: int = 5, size: int = 10, **changes: object) -> dict[str, Any]:
    """Return the fields of PDD with MTT on CIFAR-10, changed."""
    item = record(stages=stages, total_stages=stages, images_per_class=size, **PAPER)
    return {**item.flat(), **changes}


def mean_of(found: PublishedResult | None) -> float | None:
    return None if found is None else found.mean


def test_every_printed_number_is_there_and_no_other() -> None:
    if not SPECIFICATION.is_file():
        pytest.skip(f"{SPECIFICATION} with the extracted tables is not there")
    extracted = json.loads(SPECIFICATION.read_text(encoding="utf-8"))["tables"]
    names = {"Text A3.2 (update previous subsets)": "A3.2"}
    repeated = {"Text A3.1 (DM)", "Figure 3", "Text claims"}  # of Table A8, implied, in words
    expected = [
        (
            names.get(table, table),
            row["dataset"],
            row["method"],
            row["ipc"],
            row["mean"],
            row["std"],
        )
        for table, content in extracted.items()
        if table not in repeated
        for row in content["rows"]
        if row["mean"] is not None
    ]
    got = [(r.table, r.dataset, r.method, r.ipc, r.mean, r.std) for r in results()]
    assert got == expected


@pytest.mark.parametrize(
    ("table", "fields", "mean"),
    [
        ("Table 1", settings(5, 2), 66.9),
        ("Table 1", settings(5, 10), 74.2),
        ("Table 1", settings(1, 50), 71.9),
        ("Table 1", settings(1, 10, method="random"), 26.0),
        ("Table 1", settings(1, 10, method="k_center"), 14.7),
        ("Table 1", settings(1, 50, method="cafe_dsa"), 62.3),
        ("Table 1", settings(5, 10, dataset="tiny_imagenet", model="convnet-w128-d4"), 29.2),
        ("Table 1", settings(0, 0, method="full", mode="full"), 88.1),
        ("Table 2", settings(5, 10, model="resnet18-mtt-instance"), 63.5),
        ("Table 2", settings(1, 10, method="idc", model="resnet10-idc-batch"), 63.0),
        ("Table 3", settings(2, 10, mode="union"), 60.4),
        ("Table 3", settings(4, 10, mode="sequential"), 66.0),
        ("Table 3", settings(1, 10, mode="union", total_stages=5), 65.3),
        ("Table 4", settings(3, 10, transition=False), 66.3),
        ("Table 4", settings(3, 10, conditioning=False), 69.8),
        ("Table 4", settings(3, 10), 71.5),
        ("Table 4", settings(1, 10, transition=False), 65.3),
        ("Table 5", settings(10, 1), 64.4),
        ("Table A8", settings(5, 10, method="dc"), 56.3),
        ("Table A8", settings(0, 0, method="full", mode="full"), 88.1),
        ("Table A9", settings(5, 2, method="dream"), 69.3),
    ],
)
def test_results_are_found_as_records_name_them(
    table: str, fields: dict[str, Any], mean: float
) -> None:
    assert mean_of(find(table, fields)) == mean


@pytest.mark.parametrize(
    ("table", "fields"),
    [
        ("Table 1", settings(4, 10)),  # another number of stages
        ("Table 1", settings(5, 10, mode="union")),
        ("Table 1", settings(5, 10, model="convnet-w32-d3")),
        ("Table 1", settings(5, 10, dataset="digits")),
        ("Table 1", settings(5, 10, transition=False)),
        ("Table 1", settings(5, 10, phases=5, phase=5)),
        ("Table 1", settings(5, 10, method="dc")),
        ("Table 2", settings(5, 10, model="resnet18-mtt-batch")),
        ("Table 4", settings(3, 10, transition=False, conditioning=False)),
        ("Table 7", settings(5, 10)),
        ("Figure 3", settings(5, 10)),
    ],
)
def test_settings_that_were_not_published_give_nothing(table: str, fields: dict[str, Any]) -> None:
    assert find(table, fields) is None


def test_what_records_do_not_say_is_looked_at_too() -> None:
    easy, updated = SettingComparison(easy_to_hard=True), SettingComparison(update_previous=True)
    assert mean_of(find("Table 6", settings(5, 10), easy)) == 73.7
    assert mean_of(find("Table 6", settings(5, 10), PLAIN)) == 74.2
    assert find("Table 1", settings(5, 10), easy) is None
    assert mean_of(find("A3.2", settings(5, 10, mode="union"), updated)) == 69.1
    assert find("A3.2", settings(5, 10, mode="union"), PLAIN) is None
    assert find("A3.2", settings(5, 10), updated) is None


def test_continual_results_are_those_of_protocol_b() -> None:
    fields = settings(2, 10, dataset="cifar100", phase=3, phases=5, classes=60)
    assert mean_of(find("Table 7", fields, SettingComparison(continual_protocol="B"))) == 51.5
    assert find("Table 7", fields, SettingComparison(continual_protocol="A")) is None
    other_phases = {**fields, "phases": 10, "classes": 30}
    assert find("Table 7", other_phases, SettingComparison(continual_protocol="B")) is None


def test_every_published_result_can_be_found() -> None:
    """Fields made from a published row lead back to its number."""
    for result in results():
        setting = SettingComparison(
            update_previous=result.method.endswith("update-previous"),
            easy_to_hard=bool(result.forgetting_filter),
            continual_protocol="B",
        )
        assert mean_of(find(result.table, fields_of(result), setting)) == result.mean, result


def fields_of(result: PublishedResult) -> dict[str, Any]:
    datasets = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "Tiny-ImageNet": "tiny_imagenet"}
    modes = {"U": "union", "S": "sequential", "final set only": "union"}
    full = result.ipc is None
    stages = (result.P or 5) if result.method.startswith("PDD") else 1
    return {
        **record().flat(),
        "dataset": datasets[result.dataset],
        "method": next(name for name, own in METHODS.items() if own == result.base_method),
        "model": result.model,
        "mode": "full" if full else modes.get(result.training_mode or "P", "progressive"),
        "stages": 0 if full else stages,
        "images_per_class": 0 if full else (result.ipc or 0) // stages,
        "total_images_per_class": result.ipc or 0,
        "conditioning": result.variant != "w/o conditioning",
        "transition": result.variant != "w/o transition",
        "phase": result.phase or 0,
        "phases": 5 if result.phase else 0,
        "classes": result.classes_seen or 10,
    }


# --- beside our own results -----------------------------------------------------------------------


def records(accuracy: float = 0.7) -> list[Record]:
    return [
        record(
            accuracy,
            variant="pdd",
            mode=mode,
            stages=5,
            total_stages=5,
            images_per_class=10,
            **PAPER,
        )
        for mode in ("progressive", "union")
    ]


def table_with(setting: SettingComparison, paper: str = "Table 1") -> Table:
    published = Published(paper, "paper/table1", {setting_key("pdd", {}): setting})
    return make_table(records(), ("variant",), ("mode",), published=published)


def test_the_papers_number_and_the_difference_stand_beside_a_result_of_its_setting() -> None:
    lines = render(table_with(PLAIN)).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], lines[2])]
    assert cells == [
        ["variant", "progressive", "progressive: paper", "progressive: difference", "union"],
        ["pdd", "70.0 (n=1)", "74.2 ± 0.5", "−4.2", "70.0 (n=1)"],  # noqa: RUF001 - a true minus
    ]
    assert "- Paper: PDD (Chen et al., ICLR 2024), Table 1, mean ± standard deviation" in "\n".join(
        lines
    )


def test_no_number_of_the_paper_is_shown_where_a_setting_differs_but_the_setting_is() -> None:
    setting = SettingComparison(differs=("model.width: 32 (128)", "experts.count: 4 (100)"))
    for form in ("md", "html", "latex", "csv", "json"):
        text = render(table_with(setting), form)
        assert "74.2" not in text
        assert "0.742" not in text
    assert (
        "- Not the paper's settings in any cell, own (of paper/table1): "
        "model.width: 32 (128), experts.count: 4 (100)."
    ) in render(table_with(setting))


def test_a_table_without_a_reference_says_nothing_of_the_paper() -> None:
    assert "aper" not in render(make_table(records(), ("variant",), ("mode",)))


def test_json_and_csv_hold_a_number_of_the_paper_only_beside_its_setting() -> None:
    content = json.loads(render(table_with(PLAIN), "json"))
    assert [cell.get("published", {}).get("mean") for cell in content["cells"]] == [74.2, None]
    assert "published" not in content["cells"][1]
    lines = [line.split(",") for line in render(table_with(PLAIN), "csv").splitlines()]
    assert [line[0] for line in lines[1:]] == ["accuracy", "published", "accuracy"]
    assert lines[2][4:6] == ["0.742", "0.005"]


def test_settings_that_differ_everywhere_are_said_once_and_the_others_by_variant() -> None:
    shared = "model.width: 32 (128)"
    all_settings = {
        setting_key("a", {}): SettingComparison((shared,)),
        setting_key("b", {"x": 1}): SettingComparison((shared, "x: 1 (2)")),
        setting_key("b", {"x": 3}): SettingComparison((shared, "x: 3 (2)")),
    }
    items = [record(variant="a"), *(record(variant="b", axes={"x": x}) for x in (1, 3))]
    published = Published("Table 1", "paper/table1", all_settings)
    text = render(make_table(items, ("variant",), ("mode",), published=published))
    assert f"- Not the paper's settings in any cell, own (of paper/table1): {shared}." in text
    assert "- Not the paper's settings in b (x=1) also, own (of paper/table1): x: 1 (2)." in text
    assert "- Not the paper's settings in b (x=3) also, own (of paper/table1): x: 3 (2)." in text


def test_variants_that_have_the_papers_settings_are_not_among_those_that_differ() -> None:
    both = {
        setting_key("pdd", {}): PLAIN,
        setting_key("other", {}): SettingComparison(("model.width: 32 (128)",)),
    }
    items = [*records(), *(replace(item, variant="other") for item in records())]
    published = Published("Table 1", "paper/table1", both)
    text = render(make_table(items, ("variant",), ("mode",), published=published))
    assert "- Not the paper's settings in other, own (of paper/table1): model.width" in text
    assert text.count("74.2 ± 0.5") == 1


# --- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("paper", LAYOUTS)
def test_every_layout_makes_a_table_whose_caption_names_its_place_in_the_paper(paper: str) -> None:
    several = [
        record(
            0.5 + 0.1 * stages + 0.001 * seed,
            variant=f"{stages}",
            stages=stages,
            total_stages=stages,
            images_per_class=10 // stages,
            seed=seed,
            phase=phase,
            phases=2,
        )
        for stages in (1, 2)
        for seed in (0, 1)
        for phase in (1, 2)
    ]
    table = lay_out(layout_of(paper), several)
    text = render(table, "html")
    place = f"Section {paper}" if paper.startswith("A") else paper
    assert f"<caption>{place} of PDD (Chen et al., ICLR 2024): " in text
    assert "test split" in text
    cells = [cell for row in table.cells for cell in row if cell is not None]
    assert sum(cell.estimate.n for cell in cells if cell.estimate) == len(several)


def test_continual_learning_has_a_column_per_phase() -> None:
    items = [
        record(0.5, method=method, phase=phase, phases=5, classes=20 * phase, total_stages=stages)
        for method, stages in (("herding", 1), ("mtt", 1), ("mtt", 2))
        for phase in range(1, 6)
    ]
    table = lay_out(layout_of("Table 7"), items)
    assert table.rows == ("method", "total_stages")
    assert table.column_values == ((1,), (2,), (3,), (4,), (5,))
    assert [row[0] for row in table.row_values] == ["herding", "mtt", "mtt"]
    assert len(table.comparisons) == 5


def test_an_ablation_is_compared_with_both_parts() -> None:
    items = [
        record(0.5 + 0.1 * on + 0.1 * seed, variant=name, seed=seed, **changes)
        for name, on, changes in (
            ("pdd", 1, {}),
            ("no-transition", 0, {"transition": False}),
            ("no-conditioning", 0, {"conditioning": False}),
        )
        for seed in (0, 1)
    ]
    table = lay_out(layout_of("Table 4"), items)
    assert {(item.field, item.first, item.second) for item in table.comparisons} == {
        ("transition", False, True),
        ("conditioning", False, True),
    }
    for item in table.comparisons:
        assert item.difference.mean == pytest.approx(-0.1)


def test_a_table_that_the_paper_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="no layout for 'Table 9'; there are Table 1, Table 2"):
        layout_of("Table 9")
