"""Methods with deterministic operators alone: what they compute, and that CUDA would do so too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from pdd_ray.configuration.method_registry import METHODS, read_method
from pdd_ray.testing.contract import _two_experts, distil, inputs_of
from pdd_ray.testing.fake_device import DEVICE, fake_device
from tests.methods.test_contract import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUILT_IN = [name for name, spec in METHODS.items() if spec.__module__.startswith("pdd_ray.")]
QUICK = ("dm", "random")
SAMPLED = "scale_rotate"
"""Augmentations whose gradient torch sums in any order."""


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Use deterministic operators alone."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def options_of(name: str) -> dict[str, object]:
    augmented = "augmentation" in METHODS[name].model_fields
    return {"name": name, **SMALL.get(name, {}), **({"augmentation": SAMPLED} if augmented else {})}


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=[] if x in QUICK else [pytest.mark.slow]) for x in BUILT_IN]
)
def test_a_method_has_the_same_bytes_and_no_operator_that_varies(
    name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    spec = read_method(options_of(name))
    inputs = inputs_of(spec, _two_experts(tmp_path_factory.getbasetemp()))
    on_cpu = distil(spec, inputs, tmp_path / "cpu")
    with fake_device() as seen:
        moved = replace(inputs, dataset=inputs.dataset.to(DEVICE), device=DEVICE)
        on_device = distil(spec, moved, tmp_path / "device")
    assert torch.equal(on_device.images, on_cpu.images)
    assert not seen.varying


@pytest.mark.parametrize("name", ["mtt", pytest.param("dsa", marks=pytest.mark.slow)])
def test_the_images_are_those_of_torch_s_operators_but_for_rounding(
    name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    spec = read_method(options_of(name))
    inputs = inputs_of(spec, _two_experts(tmp_path_factory.getbasetemp()))
    plain = distil(spec, inputs, tmp_path / "plain")
    torch.use_deterministic_algorithms(True)
    try:
        ours = distil(spec, inputs, tmp_path / "ours")
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(ours.images, plain.images, rtol=1e-4, atol=1e-4)
