"""What is said of GPUs, by answers of torch and nvidia-smi that tests give."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pdd_ray.api import gpus
from pdd_ray.api.gpus import gpu_findings, has_kernels, nvidia_gpus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Machine = Callable[..., list[str]]

A100 = SimpleNamespace(name="A100", total_memory=42_000_000_000, major=8, minor=0)
GTX1080 = SimpleNamespace(name="GTX 1080", total_memory=8_000_000_000, major=6, minor=1)
MI300 = SimpleNamespace(name="MI300X", total_memory=192_000_000_000, gcnArchName="gfx942:sramecc+")
LISTED = ["A100, 40960 MiB"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return what is found of a machine, on which torch and nvidia-smi answer what is given."""

    def found(
        *,
        listed: list[str] | None = None,
        seen: tuple[Any, ...] = (),
        kernels: tuple[str, ...] = ("sm_75", "sm_80"),
        cuda: str | None = None,
        hip: str | None = None,
        xpu: tuple[str, ...] = (),
        mps: bool = False,
        visible: str | None = None,
        failure: str | None = None,
    ) -> list[str]:
        def init() -> None:
            if failure:
                raise RuntimeError(failure)

        answers = {
            "version.cuda": cuda,
            "version.hip": hip,
            "version.xpu": "2025.2" if xpu else None,
            "cuda.is_available": lambda: bool(seen),
            "cuda.device_count": lambda: len(seen),
            "cuda.get_device_properties": lambda index: seen[index],
            "cuda.get_arch_list": lambda: list(kernels),
            "cuda.init": init,
            "backends.cudnn.version": lambda: 92400,
            "xpu.is_available": lambda: bool(xpu),
            "xpu.device_count": lambda: len(xpu),
            "xpu.get_device_name": lambda index: xpu[index],
            "backends.mps.is_available": lambda: mps,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(f"torch.{name}", answer, raising=False)
        monkeypatch.setattr(gpus, "nvidia_gpus", lambda: listed or [])
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return [str(finding) for finding in gpu_findings()]

    return found


def test_gpus_have_their_names_memory_and_capability(machine: Machine):
    assert machine(listed=LISTED * 2, seen=(A100, A100), cuda="13.0") == [
        "ok    gpus       2, torch is built for CUDA 13.0, cuDNN 92400",
        "ok    gpu 0      A100, 42.0 GB, sm_80",
        "ok    gpu 1      A100, 42.0 GB, sm_80",
    ]


def test_rocm_is_used_as_cuda(machine: Machine):
    assert machine(seen=(MI300,), hip="7.1", kernels=("gfx90a", "gfx942")) == [
        "ok    gpus       1, torch is built for ROCm 7.1; ROCm is used as device `cuda`",
        "ok    gpu 0      MI300X, 192 GB, gfx942",
    ]


def test_a_gpu_without_kernels_fails(machine: Machine):
    *_, last = machine(listed=["GTX 1080, 8192 MiB"], seen=(GTX1080,), cuda="13.0")
    assert last == (
        "fail  gpu 0      GTX 1080, 8.0 GB, sm_61, for which this torch has no kernels (sm_75, "
        "sm_80); install a torch that supports this GPU (pytorch.org/get-started)"
    )


def test_gpus_that_are_hidden_in_part_are_counted(machine: Machine):
    found = machine(listed=LISTED * 4, seen=(A100,), cuda="13.0", visible="2")
    assert found[1] == (
        "warn  gpus       nvidia-smi lists 4, torch sees 1 of them; CUDA_VISIBLE_DEVICES is 2: "
        "check that this is wanted"
    )


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ({}, f"but torch {torch.__version__} is built for CPUs; install a torch for CUDA "),
        ({"hip": "7.1"}, "is built for ROCm 7.1; install a torch for CUDA "),
        ({"cuda": "13.0", "visible": ""}, "but CUDA_VISIBLE_DEVICES hides them from torch; unset "),
        ({"cuda": "13.0", "failure": "The driver\nis too old"},
         "but torch, built for CUDA 13.0, does not see them (The driver is too old); update the "),
        ({"cuda": "13.0"}, "does not see them (torch does not say why); update the driver"),
    ],
)  # fmt: skip
def test_gpus_that_torch_does_not_see_have_a_remedy(
    machine: Machine, answers: dict[str, Any], text: str
):
    (found,) = machine(listed=LISTED, **answers)
    assert found.startswith("warn  gpus       A100, 40960 MiB, but ")
    assert text in found


def test_what_pdd_ray_can_not_use_is_named(machine: Machine):
    assert machine(xpu=("Arc A770",)) == [
        "warn  gpus       Arc A770; torch is built for XPU 2025.2; pdd-ray does not support XPU: "
        "steps run on the CPU"
    ]
    (found,) = machine(mps=True)
    assert found.startswith("ok    gpus       Apple's (MPS), which pdd-ray does not support")


def test_without_gpus_it_says_what_torch_is_built_for(machine: Machine):
    end = "; steps run on the CPU"
    assert machine() == [f"ok    gpus       none found; torch is built for CPUs{end}"]
    assert machine(cuda="13.0") == [
        f"ok    gpus       none found; torch is built for CUDA 13.0{end}"
    ]


def test_a_torch_that_can_not_be_loaded_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(gpus, "nvidia_gpus", list)
    (finding,) = gpu_findings()
    assert str(finding).startswith("fail  gpus       torch can't be imported: ")


@pytest.mark.parametrize(
    ("architecture", "compiled", "runs"),
    [
        ("sm_86", ["sm_80"], True),
        ("sm_80", ["sm_86"], False),
        ("sm_90", ["sm_80", "sm_86"], False),
        ("sm_90", ["sm_80", "compute_86"], True),
        ("sm_61", ["compute_75"], False),
        ("sm_120", ["sm_100", "sm_120a"], True),
        ("gfx942", ["gfx90a", "gfx942"], True),
        ("gfx1100", ["gfx90a", "gfx942"], False),
    ],
)
def test_code_runs_on_the_architectures_of_its_kind(
    architecture: str, compiled: list[str], runs: bool
):
    assert has_kernels(architecture, compiled) == runs


def test_a_gpu_is_found_by_the_program_of_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'A100, 40960 MiB'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert nvidia_gpus() == ["A100, 40960 MiB"]
    program.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    assert nvidia_gpus() == []
