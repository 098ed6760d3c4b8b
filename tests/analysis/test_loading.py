"""Reading records: all of them, or an error that names file and line."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

import pdd_analysis
from pdd_analysis.loading import _TYPES, frame, load
from pdd_ray.core.errors import ConfigError, StoreError
from pdd_ray.core.records import Record, write_records
from tests.analysis.builders import record, sweep


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store with results of two sweeps, and a third one that was only planned."""
    write_records(tmp_path / "sweeps/one/records.jsonl", sweep())
    write_records(tmp_path / "sweeps/two/records.jsonl", [record(sweep="two")])
    write_records(tmp_path / "sweeps/two/planned.jsonl", [record(0.0, test_images=0)])
    (tmp_path / "sweeps/three").mkdir()
    return tmp_path


def test_records_of_a_store_are_those_that_were_written(store: Path) -> None:
    assert load(store, "one") == sweep()
    assert load(str(store), "two") == [record(sweep="two")]
    assert load(store) == [*sweep(), record(sweep="two")]
    assert load(store / "sweeps/one/records.jsonl") == sweep()


def test_the_package_gives_its_functions_by_name() -> None:
    assert pdd_analysis.load is load
    assert pdd_analysis.frame is frame
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = pdd_analysis.lod


@pytest.mark.parametrize("name", ["three", "four"])
def test_a_sweep_without_results_is_named_with_those_that_have_some(store: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"no results of the sweep '{name}' in .*: one, two"):
        load(store, name)


def test_a_folder_without_results_is_no_empty_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no results of any sweep in .*there is: none"):
        load(tmp_path)


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda values: {key: value for key, value in values.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("phase"), "a record of another format.*: it lacks phase"),
        (lambda values: {**values, "colour": 1}, "another format.*: it has the unknown colour"),
        (lambda values: {**values, "seed": "0"}, "seed should be int, got '0'"),
        (lambda values: {**values, "seed": True}, "seed should be int, got True"),
        (lambda values: {**values, "test_accuracy": 50}, r"should be in \[0, 1\], got 50"),
        (lambda values: {**values, "test_accuracy": float("nan")}, r"in \[0, 1\], got nan"),
        (lambda values: {**values, "test_images": 0}, "is planned, not finished"),
    ],
)
def test_a_line_that_is_no_finished_record_is_refused_with_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    path = tmp_path / "records.jsonl"
    good = asdict(record())
    path.write_text(json.dumps(good) + "\n" + json.dumps(change(good)) + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=rf"records\.jsonl:2: .*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sweep": "a"', "not a line of JSON"),
        ("[1]", "a record is a mapping of fields"),
        ("", "not a line"),
    ],
)
def test_a_line_that_is_cut_off_is_refused_with_its_place(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(f"{line}\n{json.dumps(asdict(record()))}\n", encoding="utf-8")
    with pytest.raises(StoreError, match=rf"records\.jsonl:1: {message}"):
        load(path)


def test_the_kind_of_every_field_of_a_record_is_known() -> None:
    assert {str(field.type) for field in fields(Record)} == set(_TYPES)


def test_a_frame_has_a_row_per_record_and_a_column_per_field_and_axis() -> None:
    records = [
        replace(record(0.4), axes={"method.lr": 1, "stages": 2}),
        record(0.6, variant="plain"),
    ]
    data = frame(records)
    assert data["test_accuracy"].tolist() == [0.4, 0.6]
    assert data["stages"].tolist() == [2, 2]
    assert list(data.columns[-2:]) == ["method.lr", "grid.stages"]
    assert data["method.lr"].isna().tolist() == [False, True]
    assert data.groupby("variant")["test_accuracy"].mean()["plain"] == pytest.approx(0.6)


def test_a_frame_without_records_has_the_columns() -> None:
    assert "test_accuracy" in frame([]).columns
