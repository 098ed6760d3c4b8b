"""Facts about sweeps/paper: they have every row of the paper, share steps, and cost what they say.

No data set is needed: the facts of the published ones are known.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pdd_ray.configuration.load import load_sweep
from pdd_ray.core.operations import FULL_EVALUATION
from pdd_ray.core.steps import topological
from pdd_ray.data.facts import DataFacts
from pdd_ray.data.source_registry import SOURCES
from pdd_ray.planning.sweep_plan import plan_sweep, planned_records
from pdd_ray.results.paper_settings import published_beside
from tests.effort import python_calls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.configuration.load import LoadedSweep
    from pdd_ray.core.records import Record
    from pdd_ray.core.steps import Step
    from pdd_ray.data.spec import DataSpec
    from pdd_ray.planning.sweep_plan import SweepPlan

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "sweeps" / "paper"
INDEX = ROOT / "docs" / "paper_sweeps.md"
ROWS = ROOT.parent / "shared" / "spec" / "paper_tables.json"
SWEEPS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
OPERATIONS_PER_HOUR = 5e12 * 3600
"""What the headers assume of a GPU."""
PLAN = re.compile(
    r"^# Plan: ([\d,]+) experiments, ([\d,]+) evaluations, ([\d,]+) steps "
    r"\(([\d,]+) without sharing\)\.$",
    re.M,
)
COST = re.compile(
    r"^# Cost: about ([\d.,]+) GPU-hours at 5 TFLOP/s .*, ([\d.,]+) GB of disk\.$", re.M
)
SHARED = re.compile(
    r"^# Shared with table1: ([\d,]+) steps, which leaves ([\d.,]+) GPU-hours after it\.$", re.M
)

TINY_IMAGENET = DataFacts(
    fingerprint="tiny-imagenet",
    classes=tuple(f"n{number:08d}" for number in range(200)),
    shape=(3, 64, 64),
    train_counts=(500,) * 200,
    test_counts=(50,) * 200,
)


def facts_of(spec: DataSpec) -> DataFacts:
    """Return what is published of a data set."""
    if spec.source == "tiny_imagenet":
        return TINY_IMAGENET
    data = SOURCES[spec.source].published
    return DataFacts(
        data.content.fingerprint, data.classes, data.shape, data.train_counts, data.test_counts
    )


@cache
def loaded(name: str) -> LoadedSweep:
    return load_sweep(f"paper/{name}")


@cache
def plan_of(name: str) -> SweepPlan:
    sweep = loaded(name)
    return plan_sweep(sweep.spec, sweep.experiments, facts_of)


@cache
def records_of(name: str) -> list[Record]:
    return planned_records(plan_of(name))


@dataclass(frozen=True)
class Numbers:
    """What a sweep takes, as headers and the index print it."""

    steps: str
    shared: str
    hours: str
    hours_left: str
    disk: str


def two_digits(value: float) -> str:
    """Return ``value`` with two significant digits."""
    if value == 0:
        return "0"
    digits = 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def hours(steps: Iterable[Step]) -> str:
    return two_digits(sum(step.cost.operations for step in steps) / OPERATIONS_PER_HOUR)


def gigabytes(steps: Iterable[Step]) -> str:
    return two_digits(sum(step.cost.disk for step in steps) / 1e9)


def numbers_of(name: str) -> Numbers:
    steps = plan_of(name).steps
    of_table1 = {step.key for step in plan_of("table1").steps}
    left = [step for step in steps if step.key not in of_table1]
    shared = len(steps) - len(left)
    return Numbers(f"{len(steps):,}", f"{shared:,}", hours(steps), hours(left), gigabytes(steps))


def header_of(name: str) -> str:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return text.partition("\nname: ")[0]


def found(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    match = pattern.search(text)
    assert match is not None, pattern.pattern
    return match.groups()


def index_rows() -> dict[str, list[str]]:
    """Return the rows of the index by the name of the file, from the command on."""
    text = INDEX.read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return {found(re.compile(r"\[(\w+)\]"), row[1])[0]: row[2:] for row in rows if len(row) == 8
            and row[1].startswith("[")}  # fmt: skip


# --- what the files say of themselves -------------------------------------------------------------


@pytest.mark.parametrize("name", SWEEPS)
def test_the_name_and_the_commands_are_those_of_the_file(name: str):
    assert load_sweep(f"paper/{name}").name == f"paper-{name}"
    assert f"#   pdd-ray plan paper/{name}\n#   pdd-ray run paper/{name}\n" in header_of(name)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_header_says_what_the_planner_says(name: str):
    plan, numbers, header = plan_of(name), numbers_of(name), header_of(name)
    counts = [len(loaded(name).experiments), len(plan.evaluations), len(plan.steps), plan.requested]
    assert found(PLAN, header) == tuple(f"{count:,}" for count in counts)
    assert found(COST, header) == (numbers.hours, numbers.disk)
    if name != "table1":
        assert found(SHARED, header) == (numbers.shared, numbers.hours_left)


def test_the_index_says_what_the_planner_says():
    rows = index_rows()
    assert sorted(rows) == SWEEPS
    for name, row in rows.items():
        numbers = numbers_of(name)
        after = ("-", "-") if name == "table1" else (numbers.shared, numbers.hours_left)
        assert row == [
            f"`pdd-ray run paper/{name}`",
            numbers.steps,
            after[0],
            numbers.hours,
            after[1],
            numbers.disk,
        ]


def test_the_index_adds_up_what_all_sweeps_take_together():
    steps = {step.key: step for name in SWEEPS for step in plan_of(name).steps}.values()
    line = found(re.compile(r"^\| all of them \|(.*)\|$", re.M), INDEX.read_text(encoding="utf-8"))
    printed = [cell.strip() for cell in line[0].split("|") if cell.strip()]
    assert printed == [f"{len(steps):,}", hours(steps), gigabytes(steps)]


def test_a_step_of_a_large_table_is_planned_with_the_effort_of_one_of_a_small_table():
    def effort(name: str) -> float:
        """Return the calls per step that is asked for."""
        sweep = loaded(name)
        calls = python_calls(lambda: plan_sweep(sweep.spec, sweep.experiments, facts_of))
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
