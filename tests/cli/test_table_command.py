"""Facts about `pdd-ray table`: pivots, the paper's layouts, and what can't be shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pdd_ray.results.tables import COMPARISONS
from tests.results.test_tables import cells_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended


def test_a_pivot_shows_other_rows_and_columns(folder: Path, cli: Callable[..., Ended]):
    ended = cli("table", "tiny", "--rows", "method", "--cols", "stages, mode")
    assert ended.code == 0
    header, *rows = cells_of(ended.out)
    assert header == ["method", "stages=1, progressive", "stages=2, progressive"]
    assert [row[0] for row in rows] == ["random", "mtt"]


def test_an_empty_list_of_columns_makes_a_single_one(folder: Path, cli: Callable[..., Ended]):
    header, *rows = cells_of(cli("table", "tiny", "--rows", "variant,stages", "--cols", "").out)
    assert header == ["variant", "stages", "accuracy"]
    assert len(rows) == 3


def test_only_what_is_given_changes(folder: Path, cli: Callable[..., Ended]):
    header, *_ = cells_of(cli("table", "tiny", "--rows", "stages,variant").out)
    assert header == ["stages", "variant", "progressive"]
    assert "No differences" not in cli("table", "tiny").out
    text = cli("table", "tiny", "--baseline", "random").out
    assert "Differences: percentage points, paired by seed and network" in text


def test_the_html_form_is_a_fragment_with_a_caption(folder: Path, cli: Callable[..., Ended]):
    text = cli("table", "tiny", "--format", "html").out
    assert text.startswith('<table class="results">\n<caption>Accuracy by variant, stages')
    assert text.endswith("</ul>\n")
    assert "<html" not in text


@pytest.mark.parametrize("compare", COMPARISONS)
def test_every_ready_made_table_can_be_shown(folder: Path, cli: Callable[..., Ended], compare: str):
    ended = cli("table", "tiny", "--compare", compare, "--format", "json")
    assert ended.code == 0
    assert json.loads(ended.out)["caption"].startswith(COMPARISONS[compare].title)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rows", "varient"), "tables can't show 'varient': records have"),
        (("--rows", "mode"), "'mode' is used twice"),
        (("--cols", "seconds"), "tables can't be laid out by 'seconds'"),
        (("--baseline", "base"), "baseline 'base' is not a variant; there is random, pdd"),
        (("--choose", "lr"), "choose 'lr' is not a grid axis; there is none"),
        (("--compare", "modes", "--rows", "seed"), "--compare is a table by itself"),
    ],
)
def test_a_pivot_that_cannot_be_made_is_one_line_and_ends_with_2(
    folder: Path, cli: Callable[..., Ended], arguments: tuple[str, ...], message: str
):
    ended = cli("table", "tiny", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}")
    assert ended.err.count("\n") == 1


def test_a_sweep_that_was_not_run_has_no_table(folder: Path, cli: Callable[..., Ended]):
    ended = cli("table", "demo")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: the sweep 'demo' was not run on the store ")
    assert ended.err.count("\n") == 1


@pytest.fixture
def both(folder: Path) -> Path:
    """The finished folder, where the sweep was also run under another name, and a collection."""
    other = (folder / "tiny.yaml").read_text(encoding="utf-8").replace("name: tiny", "name: ti_2")
    (folder / "other.yaml").write_text(other, encoding="utf-8")
    text = "name: both\nsweeps: [tiny.yaml, other.yaml]\n"
    (folder / "both.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_collection_shows_the_table_of_each_of_its_sweeps(both: Path, cli: Callable[..., Ended]):
    assert cli("run", "both.yaml", "--serial").code == 0
    tiny = cli("table", "tiny", "--rows", "variant").out
    text = cli("table", "both.yaml", "--rows", "variant").out
    assert text.startswith(f"## tiny\n\n{tiny}\n## ti_2\n\n| variant")
    assert cli("table", "both", "--rows", "variant").out == text
    assert "\\section*{ti\\_2}" in cli("table", "both", "-f", "latex").out
    assert "<h2>ti_2</h2>" in cli("table", "both", "-f", "html").out
    tables = json.loads(cli("table", "both", "-f", "json").out)["tables"]
    assert tables["tiny"] == json.loads(cli("table", "tiny", "-f", "json").out)
    ended = cli("table", "both", "-f", "csv")
    assert ended.code == 2
    assert ended.err.endswith("don't fit in one csv; ask for one sweep of tiny, ti_2\n")


def test_a_collection_with_a_sweep_that_was_not_run_has_no_tables(
    both: Path, cli: Callable[..., Ended]
):
    ended = cli("table", "both.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert "sweep 'ti_2'" in ended.err


def test_a_table_that_the_paper_does_not_have_is_refused_before_anything_is_run(
    fresh: Path, cli: Callable[..., Ended]
):
    with (fresh / "tiny.yaml").open("a", encoding="utf-8") as file:
        file.write("paper: Table 9\n")
    ended = cli("run", "tiny.yaml", "--serial", "--store", "store")
    assert ended.code == 2
    assert ended.err.startswith("error: paper: there is no layout for 'Table 9'; there are Table 1")
