"""Freed memory: used again while a step runs, given back after it."""

import resource
from pathlib import Path

import pytest
import torch

from pdd_ray import memory
from pdd_ray.memory import freed_memory_is_reused

VALUES = 10_000_000
"""Of a tensor of 40 MB; from 32 MB on, glibc always maps it on its own."""
PAGES = 4 * VALUES // 4096
SOME = 12
"""Repetitions; older versions of glibc reuse an aligned block from the eighth time on."""

needs_glibc = pytest.mark.skipif(memory._glibc() is None, reason="needs glibc's malloc")


def page_faults(times):
    """Return the page faults of making and freeing a large tensor some times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(VALUES)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    """Return the pages of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1])


@needs_glibc
def test_a_tensor_takes_the_memory_of_a_freed_one():
    assert page_faults(SOME) > 0.9 * SOME * PAGES
    with freed_memory_is_reused():
        page_faults(SOME)
        assert page_faults(SOME) < PAGES
    assert page_faults(SOME) > 0.9 * SOME * PAGES


@needs_glibc
def test_memory_is_given_back_at_the_end():
    before = resident()
    with freed_memory_is_reused():
        page_faults(1)
        assert resident() - before > 0.9 * PAGES
    assert resident() - before < 0.1 * PAGES


@needs_glibc
def test_memory_is_given_back_after_an_error_too():
    before = resident()

    def fail():
        with freed_memory_is_reused():
            page_faults(1)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert resident() - before < 0.1 * PAGES


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with freed_memory_is_reused():
        assert page_faults(1) >= 0
