"""Batches in parts, for want of memory: methods make the same images but for rounding."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch

from pdd_ray.configuration.method_registry import read_method
from pdd_ray.core.processes import in_parts
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.contract import _two_experts, distil, second_stage
from tests.methods.test_contract import SMALL

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    **{name: {"name": name} for name in ("mtt", "dc", "dm", "cafe", "idc")},
    "idc, features": {"name": "idc", "match": "features"},
    "mtt, tesla": {"name": "mtt", "gradient": "tesla"},
    "dream": {"name": "dream"},
}


def images_of(case: str, folder: Path, base: Path, **changes: object) -> torch.Tensor:
    options = {**SMALL[str(CASES[case]["name"])], **CASES[case]}
    if "iterations" in options:
        options["iterations"] = 2
    spec = read_method(options)
    # the tiny set has 10 images of a class, and IDC tiles 4 into one
    count = 5 // spec.multi_formation
    inputs = second_stage(spec, _two_experts(base), folder, images_per_class=count, **changes)
    return distil(spec, inputs, folder / "stage").images


@pytest.fixture
def last_iterate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the accuracy of candidates grow, so that the last one is chosen."""
    calls = itertools.count()
    path = "pdd_ray.methods.trajectory_matching.validation_accuracy"
    monkeypatch.setattr(path, lambda *_: next(calls) / 1000)


@pytest.mark.usefixtures("last_iterate")
@pytest.mark.parametrize(
    "case", [pytest.param(x, marks=[pytest.mark.slow] if x == "dream" else []) for x in CASES]
)
def test_the_second_stage_in_parts_is_the_same(
    case: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    base = tmp_path_factory.getbasetemp()
    whole = images_of(case, tmp_path / "whole", base)
    with in_parts(3):
        parts = images_of(case, tmp_path / "parts", base)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)
    assert not torch.equal(parts, whole)  # they were computed in another way


def test_with_batch_norm_nothing_is_split(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    base = tmp_path_factory.getbasetemp()
    model = ConvNetSpec(width=4, depth=2, norm="batch")
    whole = images_of("dm", tmp_path / "whole", base, model=model, bank=[])
    with in_parts(3):
        parts = images_of("dm", tmp_path / "parts", base, model=model, bank=[])
    assert torch.equal(parts, whole)
