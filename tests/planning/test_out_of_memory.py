"""A step that runs out of memory makes the same artifact in parts, or names what helps.

The memory is that of a convolution here: it holds so many images and no more.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pdd_ray.core.errors import ResourceError
from pdd_ray.core.out_of_memory import PARTS, within_memory
from pdd_ray.core.processes import prepared
from pdd_ray.core.steps import execute
from pdd_ray.core.store import Store
from pdd_ray.core.tensors import load_tensors
from pdd_ray.data.dataset import KEPT, load_dataset
from tests.planning.test_device import CASES, DM, IDC, ON_THE_CPU, ONE, SWEEP, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdd_ray.core.steps import Step

TEXT = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"
TOLERANCE = 2e-4
"""Largest difference, relative to the largest value of a tensor; float32 has 6e-8 per operator."""
CAFE = {"name": "cafe", "iterations": 1, "max_updates": 2, "max_network_epochs": 1}
DREAM = {**IDC, "name": "dream"}
SPLIT: dict[str, dict[str, Any]] = {
    "mtt": {},
    "mtt, soft labels": CASES["soft labels"],
    "dc": CASES["recipe of DC"],
    "dm": {"method": {**DM, "real_batch_size": 64}},
    "idc": {"method": {**IDC, "real_batch_size": 64}},
    "idc, features": {"method": {**IDC, "real_batch_size": 64, "match": "features"}},
    "dream": {"method": {**DREAM, "real_batch_size": 64}, "stages": ONE},
    "cafe": {"method": {**CAFE, "real_batch_size": 64}, "stages": ONE},
    "features": CASES["features"],
    "scores": CASES["scores"],
    "continual learning": CASES["continual learning, protocol B"],
}


class Memory:
    """Of a convolution: how many images it had at most, and how many it may have."""

    def __init__(self) -> None:
        self.largest = 0
        self.limit = math.inf


@contextmanager
def memory_of_convolutions(limit: float = math.inf) -> Iterator[Memory]:
    """Let convolutions of more than ``limit`` images run out of memory."""
    memory = Memory()
    memory.limit = limit
    forward = torch.nn.Conv2d.forward

    def limited(self: torch.nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        memory.largest = max(memory.largest, len(images))
        if len(images) > memory.limit:
            raise torch.OutOfMemoryError(TEXT)
        return forward(self, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Conv2d, "forward", limited)
        yield memory


def differences(one: Path, other: Path) -> Iterator[tuple[str, float]]:
    """Yield how far the tensors and numbers of two artifacts lie apart."""
    assert sorted(path.name for path in one.iterdir()) == sorted(p.name for p in other.iterdir())
    for path in sorted(one.glob("*.safetensors")):
        (tensors, _), (others, _) = load_tensors(path), load_tensors(other / path.name)
        assert tensors.keys() == others.keys()
        for name, value in tensors.items():
            scale = max(float(value.double().abs().max()), 1e-3) if value.numel() else 1.0
            apart = (value.double() - others[name].double()).abs()
            yield f"{path.name}:{name}", float(apart.max()) / scale if value.numel() else 0.0
    if (one / "result.json").exists():
        results = [json.loads((each / "result.json").read_text()) for each in (one, other)]
        yield "accuracy", abs(results[0]["test_accuracy"] - results[1]["test_accuracy"])


@pytest.mark.slow
@pytest.mark.parametrize("case", SPLIT)
def test_a_step_in_parts_makes_the_same_artifact(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    whole, split = (Store(tmp_path / name).open() for name in ("whole", "split"))
    steps = steps_of(SPLIT[case], whole)
    steps_of(SPLIT[case], split)
    for step in steps:
        with memory_of_convolutions() as memory:
            execute(step.call, whole)
        assert whole.manifest(step.key)["parts"] == 1
        limit = -(-memory.largest // PARTS)
        with memory_of_convolutions(limit) as limited, caplog.at_level(logging.WARNING):
            execute(step.call, split)
        assert memory.largest > 0 or step.operation.name in (*ON_THE_CPU, "coreset")
        if memory.largest:
            assert split.manifest(step.key)["parts"] == PARTS
            assert "out of memory (CUDA out of memory)" in split.log_path(step.key).read_text()
            assert limited.largest > limit  # the first attempt
            for name, apart in differences(whole.folder(step.key), split.folder(step.key)):
                assert apart <= TOLERANCE, (step.label, name)
        # the next steps start from the same bytes
        shutil.rmtree(split.folder(step.key))
        shutil.copytree(whole.folder(step.key), split.folder(step.key))
    assert prepared().parts == 1


def first(kind: str, steps: list[Step]) -> Step:
    return next(step for step in steps if step.kind == kind)


def test_a_second_failure_names_the_settings_that_help(tmp_path: Path):
    store = Store(tmp_path).open()
    steps = [*steps_of({}, store)]
    execute(first("data", steps).call, store)
    expert = first("expert", steps)
    message = (
        r"^out of memory \(CUDA out of memory\); lower experts\.batch_size \(256\) or "
        r"model\.width \(4\); run fewer steps at once: resources\.expert\.memory_gb, or cpus$"
    )
    with memory_of_convolutions(limit=1), pytest.raises(ResourceError, match=message):
        execute(expert.call, store)
    failure = store.failure(expert.key)
    assert failure is not None
    assert failure.message.startswith("out of memory (")
    assert prepared().parts == 1


def test_data_that_are_kept_for_later_steps_are_forgotten_first(tmp_path: Path):
    store = Store(tmp_path).open()
    steps = [*steps_of({}, store)]
    execute(first("data", steps).call, store)
    load_dataset(store.folder(first("data", steps).key))
    kept = KEPT.nbytes()["cpu"]

    def work() -> None:
        found.append(KEPT.nbytes().get("cpu", 0))
        raise MemoryError

    found: list[int] = []
    with pytest.raises(ResourceError):
        within_memory(work, first("expert", steps).call, "cpu")
    assert found == [kept, 0]


def test_batch_norm_can_not_be_split(tmp_path: Path):
    store = Store(tmp_path).open()
    steps = [*steps_of({"model": {**SWEEP["model"], "norm": "batch"}}, store)]
    execute(first("data", steps).call, store)
    with memory_of_convolutions(limit=128), pytest.raises(ResourceError, match="out of memory"):
        execute(first("expert", steps).call, store)


def test_other_errors_are_raised_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store(tmp_path).open()
    steps = [*steps_of({}, store)]
    execute(first("data", steps).call, store)
    calls: list[int] = []

    def broken(*_: object) -> None:
        calls.append(1)
        msg = "something else"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", broken)
    with pytest.raises(RuntimeError, match="something else"):
        execute(replace(first("expert", steps).call), store)
    assert len(calls) == 1
