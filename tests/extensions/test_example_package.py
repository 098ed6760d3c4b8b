"""A package outside the repository adds a method, a network and a data source, and is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.extensions.conftest import PACKAGE

if TYPE_CHECKING:
    from pathlib import Path

SWEEP = """
name: extended
data: {source: stripes, options: {per_class: 24}, validation_fraction: 0.2}
model: {name: wide_mlp, width: 32}
method: {name: class_means, averaged: 3}
stages: {count: 2, images_per_class: 2}
transition: {epochs: 3, augmentation: none}
evaluation:
  networks: 2
  single_stage_epochs: 30
  augmentation: none
  models: [{name: wide_mlp, width: 16}, {name: convnet, width: 8, depth: 2}]
"""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("example")]


@pytest.fixture
def sweep(tmp_path: Path) -> str:
    (tmp_path / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return "sweep.yaml"


def test_a_sweep_of_them_is_planned_without_torch(with_example, sweep):
    program = (
        "import sys, json, pdd_ray\n"
        f"plan = pdd_ray.plan({sweep!r})\n"
        "kinds = {}\n"
        "for step in plan.steps: kinds[step.kind] = kinds.get(step.kind, 0) + 1\n"
        "print(json.dumps([kinds, 'torch' in sys.modules]))"
    )
    kinds, torch_is_loaded = json.loads(with_example("-c", program).stdout)
    assert kinds == {"data": 1, "stage": 2, "evaluation": 8}
    assert not torch_is_loaded


def test_a_sweep_of_them_runs_and_has_a_table(with_example, sweep, tmp_path):
    with_example("-m", "pdd_ray", "run", sweep, "--serial")
    table = json.loads(with_example("-m", "pdd_ray", "table", sweep, "--format", "json").stdout)
    assert "model" in table["rows"]
    lines = (tmp_path / "pdd-ray-store/sweeps/extended/records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert {record["model"] for record in records} == {"wide_mlp-w16", "convnet-w8-d2"}
    assert {(record["method"], record["dataset"]) for record in records} == {
        ("class_means", "stripes")
    }
    # means of striped images teach a network which way stripes go
    best = max(record["test_accuracy"] for record in records)
    assert best > 0.6


def test_it_keeps_the_contract_of_methods(with_example):
    done = with_example(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
        str(PACKAGE / "test_class_means.py"), "--rootdir", str(PACKAGE),
        "--confcutdir", str(PACKAGE), "-c", str(PACKAGE / "pyproject.toml"), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_unknown_names_list_what_is_installed(with_example):
    for key, name, expected in (
        ("method.name", "clas_means", "did you mean 'class_means'?"),
        ("model.name", "wide_ml", "did you mean 'wide_mlp'?"),
        ("data.source", "stripe", "did you mean 'stripes'?"),
    ):
        done = with_example("-m", "pdd_ray", "plan", "demo", f"{key}={name}", check=False)
        assert done.returncode == 2
        assert expected in done.stderr


def test_options_of_a_source_are_checked_where_they_are_written(with_example, sweep, tmp_path):
    text = SWEEP.replace("per_class: 24", "per_class: 1")
    (tmp_path / sweep).write_text(text, encoding="utf-8")
    done = with_example("-m", "pdd_ray", "plan", sweep, check=False)
    assert done.returncode == 2
    assert "sweep.yaml:3:35: data.options.per_class: " in done.stderr
    assert "should be greater than or equal to 3" in done.stderr


def test_the_schema_has_them(with_example):
    schema = json.loads(with_example("-m", "pdd_ray", "config", "schema").stdout)
    definitions = schema["$defs"]
    assert "averaged" in definitions["ClassMeansSpec"]["properties"]
    assert "stripes" in definitions["DataSpec"]["properties"]["source"]["enum"]
