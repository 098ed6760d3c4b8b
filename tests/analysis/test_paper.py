"""The published numbers are those of the paper."""

import json
from pathlib import Path

import pytest

from analysis.paper import FULL_DATA, RESULTS, PublishedResult, published

SPECIFICATION = Path(__file__).resolve().parents[3] / "shared" / "spec" / "paper_tables.json"
DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "Tiny-ImageNet": "tiny_imagenet"}
METHODS = {"Random": "random", "MTT": "mtt", "PDD+MTT": "mtt", "Full Data": FULL_DATA}
MODES = {"P": "progressive", "U": "union", "S": "sequential", None: None}


def test_results_are_looked_up_as_records_name_them() -> None:
    pdd = published("cifar10", "mtt", stages=5, images_per_class=10)
    assert pdd is not None
    assert (pdd.text, pdd.source) == ("74.2 ± 0.5", "PDD (Chen et al., ICLR 2024), Table 1")
    union = published("cifar10", "mtt", stages=2, images_per_class=10, mode="union")
    assert union is not None
    assert (union.mean, union.table) == (60.4, "Table 3")
    full = published("cifar100", FULL_DATA, stages=1, images_per_class=None)
    assert full is not None
    assert full.text == "56.2"


def test_with_one_stage_every_mode_finds_the_same_result() -> None:
    found = {
        published("cifar10", "mtt", stages=1, images_per_class=10, mode=mode)
        for mode in ("progressive", "union", "sequential")
    }
    assert len(found) == 1
    assert None not in found


@pytest.mark.parametrize("setting", [("digits", "mtt", 1, 10), ("cifar10", "mtt", 3, 7)])
def test_settings_that_were_not_published_give_nothing(setting: tuple[str, str, int, int]) -> None:
    assert published(*setting) is None


def test_tables_agree_where_they_print_the_same_setting() -> None:
    for result in RESULTS:
        mode = result.mode or "progressive"
        first = published(
            result.dataset, result.method, result.stages, result.images_per_class, mode
        )
        assert first is not None
        assert (first.mean, first.std) == (result.mean, result.std)


@pytest.mark.parametrize("table", ["Table 1", "Table 3", "Table 5"])
def test_all_results_are_those_of_the_extracted_tables(table: str) -> None:
    if not SPECIFICATION.is_file():
        pytest.skip(f"{SPECIFICATION} with the extracted tables is not there")
    rows = json.loads(SPECIFICATION.read_text(encoding="utf-8"))["tables"][table]["rows"]
    extracted = {
        PublishedResult(
            table,
            DATASETS[row["dataset"]],
            METHODS[row["method"]],
            row["P"] or 1,
            row["per_stage_ipc"] or row["ipc"],
            MODES[row["training_mode"]],
            row["mean"],
            row["std"],
        )
        for row in rows
        if row["method"] in METHODS
    }
    assert extracted == {result for result in RESULTS if result.table == table}
