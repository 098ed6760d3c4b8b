"""Compiling: every network and batch size is compiled, however many a process meets."""

from functools import partial

import pytest
import torch

from pdd_ray.core.errors import ResourceError
from pdd_ray.models import compilation
from pdd_ray.models.compilation import VERSIONS, compiled, copied, device_type


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


class TestCudaGraphs:
    """Compiled functions on CUDA, as far as that can be seen without a GPU."""

    @pytest.fixture
    def modes(self, monkeypatch):
        """Return the modes that were compiled with; results are overwritten as graphs do it."""
        seen = []

        def compile(function, *, mode, **options):
            seen.append(mode)
            memory = torch.zeros(3)
            return lambda value: (memory.copy_(function(value)), {"loss": memory[0]})

        monkeypatch.setattr(torch, "compile", compile)
        monkeypatch.setattr(
            torch.compiler, "cudagraph_mark_step_begin", lambda: seen.append("step")
        )
        return seen

    def test_the_device_of_the_arguments_decides_about_the_mode(self, modes, monkeypatch):
        double = compiled(lambda value: 2 * value)
        double(torch.ones(3))
        assert modes == [None]
        monkeypatch.setattr(compilation, "device_type", lambda _: "cuda")
        double(torch.ones(3))
        double(torch.ones(3))
        assert modes == [None, "reduce-overhead", "step", "step"]

    def test_a_later_call_does_not_overwrite_results(self, modes, monkeypatch):
        monkeypatch.setattr(compilation, "device_type", lambda _: "cuda")
        double = compiled(lambda value: 2 * value)
        first, first_losses = double(torch.ones(3))
        double(torch.zeros(3))
        assert first.tolist() == [2, 2, 2]
        assert first_losses["loss"] == 2

    def test_copies_can_be_differentiated(self):
        value = torch.ones(3, requires_grad=True)
        copied([value.sum()])[0].backward()
        assert value.grad.tolist() == [1, 1, 1]

    def test_the_first_tensor_gives_the_device(self):
        assert device_type((1, {"state": {"weight": torch.ones(1, device="meta")}})) == "meta"
        assert device_type(()) == "cpu"


@pytest.mark.slow
def test_without_a_compiler_the_error_says_what_helps():
    from torch._inductor import config

    torch.compiler.reset()
    no_compiler = config.patch("cpp.cxx", (None, "/there/is/none"))
    with no_compiler, pytest.raises(ResourceError, match=r"turn off method\.compile"):
        compiled(lambda value: value.sin() + 41.5)(torch.ones(13))
    torch.compiler.reset()
