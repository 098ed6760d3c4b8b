"""Freed memory: kept while a step runs, given back after it.

What that saves is measured by the benchmarks: page faults depend on the kernel's huge pages.
"""

import pytest
import torch

from pdd_ray.core import memory
from pdd_ray.core.memory import KEEPING, USUAL, freed_memory_is_reused


class Library:
    """Stands for the C library and notes what it is told."""

    def __init__(self):
        self.calls = []

    def mallopt(self, parameter, value):
        self.calls.append((parameter, value))

    def malloc_trim(self, padding):
        self.calls.append(("trim", padding))


@pytest.fixture
def library(monkeypatch):
    library = Library()
    monkeypatch.setattr(memory, "_glibc", lambda: library)
    return library


AFTER = [*USUAL.items(), ("trim", 0)]


def test_memory_is_kept_inside_and_given_back_after(library):
    with freed_memory_is_reused():
        assert library.calls == list(KEEPING.items())
    assert library.calls == [*KEEPING.items(), *AFTER]


def test_memory_is_given_back_after_an_error_too(library):
    def fail():
        with freed_memory_is_reused():
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert library.calls[-len(AFTER) :] == AFTER


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with freed_memory_is_reused():
        assert torch.ones(3).sum() == 3


def test_the_real_library_takes_the_parameters():
    library = memory._glibc()
    if library is None:
        pytest.skip("needs glibc's malloc")
    with freed_memory_is_reused():
        assert library.mallopt(*next(iter(KEEPING.items()))) == 1
        assert torch.ones(10_000_000).sum() == 10_000_000
