"""Which errors say that memory was short, what is freed, and which settings are named."""

from __future__ import annotations

import pytest
import torch

from pdd_ray.core import operations
from pdd_ray.core.errors import ResourceError
from pdd_ray.core.out_of_memory import PARTS, advice, is_out_of_memory, within_memory
from pdd_ray.core.processes import prepared
from pdd_ray.core.steps import Resources, Step

CALL = Step(operations.EXPERT, {"expert": {"batch_size": 256}}).call


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("DefaultCPUAllocator"), False),
    ],
)
def test_memory_that_can_not_be_had_is_known_by_its_error(error: Exception, short: bool):
    assert is_out_of_memory(error) == short


def test_torch_says_so_of_the_cpu_in_the_words_that_are_looked_for():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def attempts(*errors: Exception | None):
    """Return work that fails with these errors in turn, and the parts it was to work in."""
    left, seen = list(errors), []

    def work() -> None:
        seen.append(prepared().parts)
        if error := left.pop(0):
            raise error

    return work, seen


def test_the_second_attempt_is_in_parts_and_begins_with_what_is_freed(monkeypatch):
    freed = []
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: freed.append(prepared().parts))
    work, seen = attempts(torch.OutOfMemoryError("one"), None)
    assert within_memory(work, CALL, "cuda") == PARTS
    assert (seen, freed, prepared().parts) == ([1, PARTS], [1], 1)
    work, seen = attempts(None)
    assert within_memory(work, CALL, "cuda") == 1
    assert (seen, len(freed)) == ([1], 1)


def test_there_is_no_third_attempt():
    work, seen = attempts(torch.OutOfMemoryError("one"), torch.OutOfMemoryError("two. GPU 0"))
    with pytest.raises(ResourceError, match=r"^out of memory \(two\); lower experts\.batch_size"):
        within_memory(work, CALL, "cpu")
    assert seen == [1, PARTS]


def test_what_the_first_attempt_held_is_not_held_during_the_second():
    class Large:
        alive = 0

        def __init__(self) -> None:
            Large.alive += 1

        def __del__(self) -> None:
            Large.alive -= 1

    counts = []

    def work() -> None:
        counts.append(Large.alive)
        held = Large()
        if len(counts) == 1:
            raise torch.OutOfMemoryError(type(held).__name__)

    within_memory(work, CALL, "cpu")
    assert counts == [0, 0]


@pytest.mark.parametrize(
    ("operation", "config", "resources", "device", "text"),
    [
        (operations.STAGE,
         {"method": {"batch_size": None, "gradient": "unrolled"}, "model": {"width": 128}},
         Resources(gpus=0.25), "cuda",
         "lower method.batch_size (all images of a stage) or model.width (128); set "
         "method.gradient to exact; raise resources.stage.gpus (0.25), the share of a GPU's "
         "memory"),
        (operations.STAGE, {"method": {"real_batch_size": 256, "network_batch_size": 64}},
         Resources(gpus=1, shards=4), "cuda",
         "lower method.real_batch_size (256) or method.network_batch_size (64); lower "
         "resources.class_shards (4)"),
        (operations.START, {"transition": {"batch_size": 128}}, Resources(), "cpu",
         "lower transition.batch_size (128); run fewer steps at once: resources.start.memory_gb, "
         "or cpus"),
        (operations.EVALUATION, {"training": {"batch_size": 64}}, Resources(gpus=1), "cuda",
         "lower evaluation.batch_size (64)"),
        (operations.FULL_EVALUATION, {"training": {"batch_size": 64}}, Resources(gpus=1), "cuda",
         "lower evaluation.full_data.batch_size (64)"),
        (operations.SCORES, {"forgetting": {"batch_size": 8}}, Resources(gpus=1), "cuda",
         "lower forgetting.batch_size (8)"),
    ],
)  # fmt: skip
def test_the_settings_that_help_are_those_of_the_kind_of_step(
    operation, config, resources, device, text
):
    assert advice(Step(operation, config, resources=resources).call, device) == text
