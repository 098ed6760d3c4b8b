"""What a process sets before it computes, whatever it did before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from pdd_ray.core import processes
from pdd_ray.core.errors import ResourceError
from pdd_ray.core.processes import (
    CUBLAS_WORKSPACE,
    Numerics,
    ProcessSettings,
    prepare_process,
    prepared,
)


@pytest.fixture(autouse=True)
def process_as_before(monkeypatch):
    """Leave the process as it was."""
    before, threads = prepared(), torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    monkeypatch.setenv(CUBLAS_WORKSPACE, "")
    monkeypatch.delenv(CUBLAS_WORKSPACE)
    yield
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", lambda _share: None)
    prepare_process(ProcessSettings(threads))
    processes._prepared[:] = [before]


def in_force():
    """Return what torch says of its settings."""
    return {
        "tf32": {torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32},
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def test_nothing_is_left_of_what_the_step_before_has_set():
    for settings in (
        Numerics(),
        Numerics(tf32=True),
        Numerics(deterministic=True),
        Numerics(tf32=True, deterministic=True),
        Numerics(),
    ):
        torch.backends.cudnn.benchmark = True
        prepare_process(ProcessSettings(2, numerics=settings))
        assert in_force() == {"tf32": {settings.tf32}, "deterministic": settings.deterministic}
        assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.deterministic
        assert torch.get_num_threads() == 2
        assert prepared().numerics == settings


def test_torch_can_still_be_asked_for_its_precision():
    """torch.compile does so; it is an error where old and new ways of setting it are mixed."""
    for tf32, precision in ((True, "high"), (False, "highest")):
        prepare_process(ProcessSettings(numerics=Numerics(tf32=tf32)))
        assert torch.get_float32_matmul_precision() == precision


def test_numerics_are_those_of_the_configuration():
    assert Numerics.of({"seed": 1}) == Numerics()
    config = {"precision": {"tf32": True}, "deterministic": True}
    assert Numerics.of(config) == Numerics(tf32=True, deterministic=True)


def test_a_fraction_of_a_gpu_is_a_fraction_of_its_memory(monkeypatch):
    shares: list[float] = []
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", shares.append)
    for share in (1.0, 0.25, 0.25, 1.0, 1.0):
        prepare_process(ProcessSettings(device="cuda", memory_share=share))
    assert shares == [
        0.25,
        0.25,
        1.0,
    ]  # nothing to undo before the first, and after the last but one
    prepare_process(ProcessSettings(device="cpu", memory_share=0.25))
    assert len(shares) == 3


def test_cublas_gets_its_workspaces_before_cuda_starts(monkeypatch):
    prepare_process(ProcessSettings(device="cuda"))
    assert os.environ[CUBLAS_WORKSPACE] == ":4096:8"
    monkeypatch.setenv(CUBLAS_WORKSPACE, ":16:8")  # one that a user has set
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    deterministic = ProcessSettings(device="cuda", numerics=Numerics(deterministic=True))
    prepare_process(deterministic)
    assert os.environ[CUBLAS_WORKSPACE] == ":16:8"


@pytest.mark.parametrize("given", [None, ":0:0"])
def test_determinism_that_comes_too_late_is_an_error(monkeypatch, given):
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    if given:
        monkeypatch.setenv(CUBLAS_WORKSPACE, given)
    prepare_process(ProcessSettings(device="cuda"))
    with pytest.raises(ResourceError, match=f"started CUDA with {CUBLAS_WORKSPACE}={given}; set"):
        prepare_process(ProcessSettings(device="cuda", numerics=Numerics(deterministic=True)))


def test_torch_is_not_loaded_without_need():
    code = (
        "import sys; from pdd_ray.core.processes import *; prepare_process(ProcessSettings(3));"
        "import os; assert os.environ['OMP_NUM_THREADS'] == '3'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
