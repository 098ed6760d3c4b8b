"""What manifests say of how artifacts were made."""

from __future__ import annotations

import platform
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pdd_ray.core import provenance
from pdd_ray.core.operations import Operation
from pdd_ray.core.provenance import device_text, numerics_text
from pdd_ray.core.steps import Resources, Step, execute, memory_share
from pdd_ray.core.store import Store

WORK = Operation("work", f"{__name__}:work")


def work(context):
    start = time.process_time()
    while time.process_time() - start < context.config["cpu"]:
        pass
    time.sleep(context.config["sleep"])
    assert torch.are_deterministic_algorithms_enabled() == context.config.get(
        "deterministic", False
    )
    (context.output / "text").write_text("done")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store").open()


def manifest_of(store, **config):
    step = Step(WORK, {"cpu": 0.0, "sleep": 0.0, **config}, label="work")
    execute(step.call, store)
    return store.manifest(step.key)


def test_cpu_time_is_that_of_the_process_and_not_of_the_clock(store):
    manifest = manifest_of(store, cpu=0.05, sleep=0.3)
    assert 0.05 <= manifest["cpu_seconds"] < 0.3 <= manifest["seconds"]


def test_the_cpu_and_the_numerics_are_recorded(store):
    manifest = manifest_of(store)
    assert manifest["device"] == {
        "type": "cpu",
        "name": provenance.cpu_name(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    assert manifest["numerics"] == {"tf32": False, "deterministic": False}


def test_numerics_that_differ_are_in_force_during_the_step_and_recorded(store):
    manifest = manifest_of(store, deterministic=True, precision={"tf32": True})
    assert manifest["numerics"] == {"tf32": True, "deterministic": True}
    assert manifest_of(store)["numerics"] == {"tf32": False, "deterministic": False}


@pytest.mark.parametrize(("cuda", "rocm"), [("13.0", None), (None, "7.1")])
def test_a_gpu_is_recorded_with_what_its_library_is(monkeypatch, cuda, rocm):
    found = SimpleNamespace(name="A100-SXM4-40GB", total_memory=42_000_000_000, major=8, minor=0)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _index: found)
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: 92400)
    monkeypatch.setattr("torch.version.cuda", cuda)
    monkeypatch.setattr("torch.version.hip", rocm)
    assert provenance.device_facts("cuda") == {
        "type": "cuda",
        "name": "A100-SXM4-40GB",
        "memory": 42_000_000_000,
        "capability": "8.0",
        "cuda": cuda,
        "rocm": rocm,
        "cudnn": 92400,
    }


def test_the_name_of_a_cpu_is_the_one_that_linux_knows(monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nprocessor\t: 1\n")
    monkeypatch.setattr(provenance, "CPU_INFORMATION", file)
    assert provenance.cpu_name.__wrapped__() == "Some CPU @ 2 GHz"
    monkeypatch.setattr(provenance, "CPU_INFORMATION", tmp_path / "missing")
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert provenance.cpu_name.__wrapped__() == "arm"


@pytest.mark.parametrize(
    ("gpus", "shards", "share"), [(0, 1, 1), (1, 4, 1), (0.5, 1, 0.5), (0.5, 2, 0.25)]
)
def test_processes_that_share_a_gpu_share_its_memory(gpus, shards, share):
    step = Step(WORK, {}, resources=Resources(gpus=gpus, shards=shards))
    assert memory_share(step.call) == share


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ({"device": {"type": "cpu", "name": "Some CPU", "capability": "AVX2"}}, "Some CPU"),
        ({"device": {"type": "cpu", "name": None, "capability": None}}, "cpu"),
        ({"device": {"type": "cuda", "name": "A100", "cuda": "13.0", "rocm": None, "cudnn": 92400}},
         "A100, CUDA 13.0, cuDNN 92400"),
        ({"device": {"type": "cuda", "name": "MI300", "cuda": None, "rocm": "7.1", "cudnn": None}},
         "MI300, ROCm 7.1"),
        ({"gpus": 0.5}, "GPU"),
        ({"gpus": 0.0}, "CPU"),
    ],
)  # fmt: skip
def test_a_device_is_named_with_its_libraries(manifest: dict[str, Any], text: str):
    assert device_text(manifest) == text


@pytest.mark.parametrize(
    ("numerics", "text"),
    [
        ({}, "float32"),
        ({"tf32": True, "deterministic": False}, "TF32"),
        ({"tf32": False, "deterministic": True}, "float32, deterministic"),
    ],
)
def test_numerics_are_named(numerics: dict[str, bool], text: str):
    assert numerics_text({"numerics": numerics}) == text
    assert numerics_text({}) == "float32"  # a manifest of an earlier version
