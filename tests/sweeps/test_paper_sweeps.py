"""Facts about sweeps/paper: they have every row of the paper, share steps, and cost what they say.

No data set is needed: the facts of the published ones are known.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from docs import paper_costs
from docs.paper_costs import FOLDER, INDEX, ROOT, SWEEPS, plan_of, published_facts
from pdd_ray.configuration.load import load_sweep
from pdd_ray.core.operations import FULL_EVALUATION
from pdd_ray.core.steps import topological
from pdd_ray.core.store import Store
from pdd_ray.planning.estimate import Machine, estimate
from pdd_ray.planning.sweep_plan import plan_sweep, planned_records
from pdd_ray.results.paper_settings import published_beside
from tests.effort import python_calls

if TYPE_CHECKING:
    from pdd_ray.configuration.load import LoadedSweep
    from pdd_ray.core.records import Record

ROWS = ROOT.parent / "shared" / "spec" / "paper_tables.json"
PLAN = re.compile(
    r"^# Plan: ([\d,]+) experiments, ([\d,]+) evaluations, ([\d,]+) steps "
    r"\(([\d,]+) without sharing\)\.$",
    re.M,
)


@cache
def loaded(name: str) -> LoadedSweep:
    return load_sweep(f"paper/{name}")


@cache
def records_of(name: str) -> list[Record]:
    return planned_records(plan_of(name))


def header_of(name: str) -> str:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return text.partition("\nname: ")[0]


def found(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    match = pattern.search(text)
    assert match is not None, pattern.pattern
    return match.groups()


# --- what the files say of themselves -------------------------------------------------------------


@pytest.mark.parametrize("name", SWEEPS)
def test_the_name_and_the_commands_are_those_of_the_file(name: str):
    assert load_sweep(f"paper/{name}").name == f"paper-{name}"
    assert f"#   pdd-ray plan paper/{name}\n#   pdd-ray run paper/{name}\n" in header_of(name)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_header_says_what_the_planner_says(name: str):
    plan, header = plan_of(name), header_of(name)
    counts = [len(loaded(name).experiments), len(plan.evaluations), len(plan.steps), plan.requested]
    assert found(PLAN, header) == tuple(f"{count:,}" for count in counts)
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert len(paper_costs.COST.findall(header)) == 1
    assert len(paper_costs.SHARED.findall(header)) == (name != "table1")
    assert paper_costs.with_current_header(name, text) == text, "costs are stale: make docs"


def test_the_index_says_what_the_planner_says():
    text = INDEX.read_text(encoding="utf-8")
    rows = paper_costs.ROW.findall(text)
    assert sorted(name for _, name in rows) == list(SWEEPS)
    assert len(paper_costs.TOTAL.findall(text)) == 1
    assert paper_costs.with_current_index(text) == text, "costs are stale: make docs"


def test_a_gpu_is_busy_for_as_long_as_its_shares_are_held():
    steps = plan_of("table_a8").steps
    hours = [paper_costs.gpu_hours(steps, device) for device in paper_costs.GPUS]
    assert 0 < hours[0] < hours[1]
    estimate_of = Machine(device="A100", gpus=8)
    found = estimate(steps, Store(Path("nowhere")), machine=estimate_of)
    assert found.gpu_seconds / 3600 == pytest.approx(hours[1])
    assert found.seconds >= found.gpu_seconds / 8


def test_a_step_of_a_large_table_is_planned_with_the_effort_of_one_of_a_small_table():
    def effort(name: str) -> float:
        """Return the calls per step that is asked for."""
        sweep = loaded(name)
        calls = python_calls(lambda: plan_sweep(sweep.spec, sweep.experiments, published_facts))
        return calls / plan_of(name).requested

    assert plan_of("table1").requested > 3 * plan_of("table6").requested
    assert effort("table1") / effort("table6") < 1.2


# --- what is shared -------------------------------------------------------------------------------

DISTILLED_BY_TABLE1 = {
    "table2": None,
    "table3": None,
    "table4": ["pdd"],
    "table5": ["1x10", "5x2"],
    "table6": ["pdd"],
    "table_a8": ["dc", "dsa", "dm", "full"],
    "table_a9": ["full"],
    "text_a3_2": ["pdd"],
    "figure3": ["pdd", "full", "cifar100-pdd", "cifar100-full", "tiny-pdd", "tiny-pdd-10",
                "tiny-full"],
}  # fmt: skip
"""Variants (None: all) whose sets, and trainings on all data, are those of table1."""


@pytest.mark.parametrize("name", DISTILLED_BY_TABLE1)
def test_equal_settings_are_the_same_steps(name: str):
    of_table1 = {step.key for step in plan_of("table1").steps}
    variants = DISTILLED_BY_TABLE1[name]
    chosen = [
        evaluation
        for evaluation in plan_of(name).evaluations
        if variants is None or evaluation.experiment.variant in variants
    ]
    assert {e.experiment.variant for e in chosen} == set(variants or plan_of(name).sweep.variants)
    needed = [
        step
        for step in topological(evaluation.step for evaluation in chosen)
        if step.kind != "evaluation" or step.operation is FULL_EVALUATION
    ]
    assert {step.label for step in needed if step.key not in of_table1} == set()


# --- every row of the paper -----------------------------------------------------------------------

TABLES = {
    "Table 1": "table1",
    "Table 2": "table2",
    "Table 3": "table3",
    "Table 4": "table4",
    "Table 5": "table5",
    "Table 6": "table6",
    "Table 7": "table7",
    "Table A8": "table_a8",
    "Table A9": "table_a9",
    "Text A3.1 (DM)": "table_a8",
    "Text A3.2 (update previous subsets)": "text_a3_2",
    "Figure 3": "figure3",
}
DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "Tiny-ImageNet": "tiny_imagenet"}
METHODS = {"K-Center": "k_center", "CAFE + DSA": "cafe_dsa", "Full Data": "full", "Full": "full"}
MODES = {"P": "progressive", "U": "union", "S": "sequential", "final set only": "union"}
NETWORKS = {
    ("ResNet-10", "batchnorm"): "resnet10-idc-batch",
    ("ResNet-18", "batchnorm"): "resnet18-idc-batch",
    ("ResNet-10", "instancenorm"): "resnet10-mtt-instance",
    ("ResNet-18", "instancenorm"): "resnet18-mtt-instance",
}
ABLATIONS = {
    "w/o transition": "without-transition",
    "w/o conditioning": "without-conditioning",
    "PDD": "pdd",
}


def model_of(row: dict[str, Any]) -> str:
    """Return the label of the network of a row; the ConvNet of its data set if it names none."""
    if "norm" in row:
        return NETWORKS[row["arch"], row["norm"]]
    depth = {"ConvNetD3": 3, "ConvNetD4": 4}.get(row.get("arch", ""))
    return f"convnet-w128-d{depth or (4 if row['dataset'] == 'Tiny-ImageNet' else 3)}"


def is_of(record: Record, row: dict[str, Any]) -> bool:
    """Whether ``record`` is an evaluation of what ``row`` of the paper is about."""
    name, _, suffix = row["method"].removeprefix("PDD+").partition(" update-")
    method = METHODS.get(name, name.lower())
    same = record.dataset == DATASETS[row["dataset"]] and record.model == model_of(row)
    if method == "full":
        return same and record.mode == "full"
    several = row["method"].startswith("PDD+") and row.get("P") != 1
    return (
        same
        and record.method == method
        and record.total_images_per_class == row["ipc"]
        and record.images_per_class == (row.get("per_stage_ipc") or record.images_per_class)
        and record.stages == (row.get("P") or record.stages)
        and several == (record.stages > 1)
        and record.mode == MODES.get(row.get("training_mode") or "P", "progressive")
        and record.variant == ABLATIONS.get(row.get("variant", ""), record.variant)
        and (record.variant == "update-previous") == bool(suffix)
        and (record.variant == "easy-to-hard") == bool(row.get("forgetting_filter"))
        and record.phase == row.get("cl_stage", 0)
    )


@pytest.mark.parametrize("table", TABLES)
def test_every_row_of_the_paper_is_evaluated(table: str):
    if not ROWS.is_file():
        pytest.skip(f"{ROWS} is not there: the numbers of the paper are kept beside the checkout")
    rows = json.loads(ROWS.read_text(encoding="utf-8"))["tables"][table]["rows"]
    printed = [row for row in rows if "mean" not in row or row["mean"] is not None]
    assert printed
    for row in printed:
        evaluations = [record for record in records_of(TABLES[table]) if is_of(record, row)]
        networks = {record.network for record in evaluations}
        assert len(networks) == (3 if table == "Table 7" else 5), row
        protocols = {record.variant.partition("-")[0] for record in evaluations}
        assert table != "Table 7" or protocols == {"A", "B"}, row


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_of_the_paper_has_the_paper_s_settings(name: str):
    published = published_beside(load_sweep(f"paper/{name}"))
    assert published is not None
    assert published.reference == f"paper/{name}"
    assert {setting.differs for setting in published.settings.values()} == {()}
