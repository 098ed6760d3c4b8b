"""Every kind of step makes on an emulated device what it makes on the CPU, to the bit.

The device refuses to mix tensors as CUDA does (:mod:`pdd_ray.testing.fake_device`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pdd_ray.configuration.load import sweep_from
from pdd_ray.core.processes import ProcessSettings, prepare_process
from pdd_ray.core.steps import execute
from pdd_ray.core.store import Store
from pdd_ray.data.facts import read_facts
from pdd_ray.planning.sweep_plan import plan_sweep
from pdd_ray.testing.fake_device import DEVICE, fake_device

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdd_ray.core.steps import Step

SWEEP: dict[str, Any] = {
    "data": {"source": "digits", "validation_fraction": 0.2},
    "model": {"name": "convnet", "width": 4, "depth": 2},
    "experts": {"count": 1, "epochs": 3, "batch_size": 256},
    "transition": {"epochs": 1},
    "forgetting": {"epochs": 1},
    "method": {
        "name": "mtt",
        "iterations": 2,
        "inner_steps": 2,
        "max_start_epoch": 2,
        "selection": {"every": 1, "networks": 1, "epochs": 1},
    },
    "stages": {"count": 2, "images_per_class": 1},
    "evaluation": {
        "modes": ["progressive", "union", "sequential"],
        "networks": 1,
        "single_stage_epochs": 2,
        "curve_points": 2,
    },
}
DM = {"name": "dm", "iterations": 2, "bank_size": 1, "real_batch_size": 8}
IDC = {"name": "idc", "iterations": 1, "inner_loop": 1, "bank_size": 1, "network_images": 64}
ONE = {"count": 1, "images_per_class": 1}
CONTINUAL = {"evaluation": {"modes": ["progressive"], "networks": 1, "single_stage_epochs": 2}}
CASES: dict[str, dict[str, Any]] = {
    "trajectory matching": {},
    "from easy to hard": {
        "method": {**SWEEP["method"], "difficulty": {"width": 0.5, "minimum": 8}}
    },
    "without transition": {
        "method": {**SWEEP["method"], "transition": False},
        "experts": {**SWEEP["experts"], "epochs": 5},
    },
    "earlier images updated": {"method": {**SWEEP["method"], "update_previous": {}}},
    "soft labels": {"method": {**SWEEP["method"], "labels": "soft"}},
    "protocol of the original codes": {"protocol": "reference"},
    "whitening": {"data": {**SWEEP["data"], "preprocessing": "zca"}, "method": DM},
    "batch norm": {"model": {"name": "convnet", "width": 4, "depth": 2, "norm": "batch"}},
    "recipe of IDC": {"method": IDC},
    "recipe of DC": {
        "method": {"name": "dc", "iterations": 1, "outer_loop": 2, "inner_loop": 1, "bank_size": 1}
    },
    "features": {"method": "herding", "stages": ONE, "evaluation": {"networks": 1, "epochs": 1}},
    "scores": {"method": "forgetting", "stages": ONE, "evaluation": {"networks": 1, "epochs": 1}},
    "all real images": {
        "evaluation": {"modes": ["full"], "networks": 1, "full_data": {"epochs": 1}}
    },
    "continual learning, protocol A": {
        **CONTINUAL, "method": DM, "continual": {"phases": 2, "protocol": "A"}
    },
    "continual learning, protocol B": {
        **CONTINUAL, "method": DM, "continual": {"phases": 2, "protocol": "B"}
    },
    "other networks": {
        "method": DM,
        "stages": ONE,
        "evaluation": {
            "networks": 1,
            "single_stage_epochs": 1,
            "models": [
                {"name": "mlp"},
                {"name": "alexnet"},
                {"name": "densenet"},
                {"name": "resnet", "depth": 10, "family": "idc", "norm": "batch"},
            ],
        },
    },
}  # fmt: skip
ON_THE_CPU = ("data", "classes")
"""Operations that prepare images before any device is asked for."""


def steps_of(changes: dict[str, Any], store: Store) -> Sequence[Step]:
    loaded = sweep_from({"name": "device", **SWEEP, **changes})
    return plan_sweep(
        loaded.spec, loaded.experiments, lambda spec: read_facts(spec, store.facts)
    ).steps


def every_case(*quick: str) -> pytest.MarkDecorator:
    """Return the parameters of a test of every case, slow but for the ``quick`` ones."""
    cases = [
        pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in CASES
    ]
    return pytest.mark.parametrize("case", cases)


@every_case("trajectory matching", "continual learning, protocol B")
def test_a_device_gives_the_bytes_of_the_cpu(case: str, tmp_path: Path):
    on_cpu, on_device = (Store(tmp_path / name).open() for name in ("cpu", "device"))
    steps = steps_of(CASES[case], on_cpu)
    steps_of(CASES[case], on_device)  # so that the store knows where the data are
    for step in steps:
        execute(step.call, on_cpu)
        with fake_device() as seen:
            execute(replace(step.call, device=DEVICE), on_device)
        assert seen.total_launches > 0 or step.operation.name in ON_THE_CPU
        one, other = (store.manifest(step.key)["files"] for store in (on_cpu, on_device))
        digests = [{name: file["digest"] for name, file in files.items()} for files in (one, other)]
        assert digests[0] == digests[1], step.label


@every_case("trajectory matching")
def test_with_deterministic_no_operator_sums_in_any_order(case: str, tmp_path: Path):
    """On the CPU every step runs with deterministic operators alone; on CUDA none would be refused.

    A device gives the bytes of the CPU with them, too: nothing asks which device it is.
    """
    on_cpu, on_device = (Store(tmp_path / name).open() for name in ("cpu", "device"))
    steps = steps_of({**CASES[case], "deterministic": True}, on_cpu)
    steps_of(CASES[case], on_device)
    for step in steps:
        execute(step.call, on_cpu)
        deterministic = step.operation.name not in ON_THE_CPU
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        with fake_device() as seen:
            execute(replace(step.call, device=DEVICE), on_device)
        assert not seen.varying, step.label
        one, other = (store.manifest(step.key) for store in (on_cpu, on_device))
        digests = [[file["digest"] for file in made["files"].values()] for made in (one, other)]
        assert digests[0] == digests[1], step.label
        assert one["numerics"]["deterministic"] == deterministic
    prepare_process(ProcessSettings(torch.get_num_threads()))
