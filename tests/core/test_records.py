"""Records: one line per evaluation, read back as they were."""

import json
from dataclasses import asdict, fields

import pytest

from pdd_ray.core.errors import RecordFormatError, StoreError
from pdd_ray.core.records import Record, read_records, write_records

RECORD = Record(
    sweep="s",
    variant="base",
    seed=0,
    dataset="digits",
    method="mtt",
    mode="progressive",
    stages=2,
    total_stages=3,
    images_per_class=1,
    total_images_per_class=2,
    model="convnet",
    network=0,
    epochs=3,
    step_size=0.01,
    test_accuracy=0.5,
    validation_accuracy=0.25,
    test_images=10,
    seconds=1.5,
    key="evaluation-1",
    stage_key="stage-1",
    axes={"method.max_start_epoch": 4, "stages": {"count": 3, "images_per_class": 1}},
)


def test_records_are_read_as_they_were_written(tmp_path):
    write_records(tmp_path / "folder" / "records.jsonl", [RECORD, RECORD])
    assert read_records(tmp_path / "folder" / "records.jsonl") == [RECORD, RECORD]


def test_a_record_is_one_line_of_plain_json(tmp_path):
    write_records(tmp_path / "records.jsonl", [RECORD])
    (line,) = (tmp_path / "records.jsonl").read_text().splitlines()
    assert json.loads(line) == asdict(RECORD)


def test_no_records_make_an_empty_file(tmp_path):
    write_records(tmp_path / "records.jsonl", [])
    assert read_records(tmp_path / "records.jsonl") == []


def test_records_of_another_version_are_refused_with_their_line(tmp_path):
    path = tmp_path / "records.jsonl"
    write_records(path, [RECORD])
    old = {name: value for name, value in asdict(RECORD).items() if name != "protocol"}
    path.write_text(path.read_text() + json.dumps(old) + "\n")
    message = r"records\.jsonl:2: a record of another version, without protocol; run"
    with pytest.raises(RecordFormatError, match=message) as caught:
        read_records(path)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_other_content_is_refused_with_the_path(tmp_path, content):
    path = tmp_path / "records.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StoreError, match=r"records\.jsonl can't be read"):
        read_records(path)


def test_axes_become_fields_but_never_overwrite_one():
    flat = RECORD.flat()
    assert flat["method.max_start_epoch"] == 4
    assert flat["stages"] == 2
    assert flat["grid.stages"] == {"count": 3, "images_per_class": 1}
    assert {field.name for field in fields(Record)} - {"axes"} < set(flat)
    assert "axes" not in flat
