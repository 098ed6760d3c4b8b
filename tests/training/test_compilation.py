"""Compiling: every network and batch size is compiled, however many a process meets."""

from functools import partial

import pytest
import torch

from pdd_ray.models.compilation import VERSIONS, compiled


@pytest.fixture
def compilations(monkeypatch):
    """Return the list to which a backend that compiles nothing adds an entry per compilation."""
    seen = []

    def backend(graph, _examples):
        seen.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    yield seen
    torch.compiler.reset()


@pytest.mark.slow
def test_more_shapes_than_torch_allows_are_compiled(compilations):
    double = compiled(lambda value: 2 * value)
    for size in range(2, 14):
        for _ in range(2):
            assert double(torch.ones(size)).sum() == 2 * size
    assert len(compilations) == 12
    assert VERSIONS > 12


def test_what_can_t_be_compiled_as_a_whole_is_an_error(compilations):
    def breaks(value):
        torch._dynamo.graph_break()
        return value

    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(breaks)(torch.ones(2))
    assert not compilations
