"""The exact gradient of trajectory matching against its slow twin and finite differences."""

from functools import partial

import pytest
import torch

from pdd_ray.configuration.training import FULL_DSA
from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.core.seeding import generator
from pdd_ray.methods.trajectory_loss import (
    InnerFunctions,
    InnerStep,
    Segment,
    Union,
    inner_steps,
    matching_gradient,
    momentum_update,
)
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec

CLASSES = 3
SHAPE = (2, 8, 8)


class Problem:
    """A small matching problem in float64 with frozen images, augmentation and several chunks."""

    def __init__(self, steps=6, frozen=4, new=6, strategy=FULL_DSA):
        source = generator(5, "matching problem")
        model = create_model(ConvNetSpec(width=4, depth=2), SHAPE, CLASSES, source).double()
        network = FlatModel(model)
        self.functions = InnerFunctions(network)
        start = network.flatten(model)
        noise = torch.randn(len(start), generator=source, dtype=torch.float64)
        self.segment = Segment(start, start + 0.05 * noise)
        images = torch.randn(frozen + new, *SHAPE, generator=source, dtype=torch.float64)
        labels = torch.randint(CLASSES, (frozen + new,), generator=source)
        self.union = Union(images[frozen:], labels, images[:frozen] if frozen else None)
        self.step_size = torch.tensor(0.3, dtype=torch.float64)
        self.steps = inner_steps(frozen + new, 4, steps, strategy, SHAPE[1:], source)

    def gradient(self, kind="exact"):
        return matching_gradient(
            self.functions, self.union, self.step_size, self.segment, self.steps, kind
        )

    def loss(self, images=None, step_size=None):
        union = Union(
            self.union.images if images is None else images, self.union.labels, self.union.frozen
        )
        alpha = self.step_size if step_size is None else step_size
        result = matching_gradient(
            self.functions, union, alpha, self.segment, self.steps, "unrolled"
        )
        return float(result.loss)


def relative_difference(value, reference):
    return float((value - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize("frozen", [0, 4])
def test_exact_gradient_equals_naive_unrolling(frozen):
    problem = Problem(frozen=frozen)
    exact, naive = problem.gradient("exact"), problem.gradient("unrolled")
    assert relative_difference(exact.images, naive.images) < 1e-9
    assert relative_difference(exact.step_size, naive.step_size) < 1e-9
    assert relative_difference(exact.student, naive.student) < 1e-12
    assert relative_difference(exact.loss, naive.loss) < 1e-12
    assert relative_difference(exact.step_losses, naive.step_losses) < 1e-12


def test_exact_gradient_equals_finite_differences():
    problem = Problem()
    exact = problem.gradient("exact")
    epsilon = 1e-5
    source = generator(7, "directions")
    for _ in range(3):
        direction = torch.randn(problem.union.images.shape, generator=source, dtype=torch.float64)
        above = problem.loss(images=problem.union.images + epsilon * direction)
        below = problem.loss(images=problem.union.images - epsilon * direction)
        expected = (above - below) / (2 * epsilon)
        assert float((exact.images * direction).sum()) == pytest.approx(expected, rel=1e-6)
    above = problem.loss(step_size=problem.step_size + epsilon)
    below = problem.loss(step_size=problem.step_size - epsilon)
    assert float(exact.step_size) == pytest.approx((above - below) / (2 * epsilon), rel=1e-6)


def test_tesla_is_exact_in_the_last_step_only():
    one = Problem(steps=1)
    assert relative_difference(one.gradient("tesla").images, one.gradient().images) < 1e-12
    several = Problem(steps=6)
    assert relative_difference(several.gradient("tesla").images, several.gradient().images) > 1e-3


def test_inputs_stay_as_they_are():
    problem = Problem()
    before = problem.union.images.clone(), problem.segment.start.clone()
    problem.gradient()
    assert torch.equal(problem.union.images, before[0])
    assert torch.equal(problem.segment.start, before[1])
    assert not problem.union.images.requires_grad


def test_chunks_are_consumed_from_the_last_one():
    steps = inner_steps(10, 4, 7, "none", (8, 8), generator(0, "chunks"))
    sizes = [len(step.indices) for step in steps]
    assert sizes == [2, 4, 4, 2, 4, 4, 2]
    for turn in (steps[:3], steps[3:6]):
        assert sorted(torch.cat([step.indices for step in turn]).tolist()) == list(range(10))


def test_a_segment_of_length_zero_is_refused():
    problem = Problem()
    still = Segment(problem.segment.start, problem.segment.start.clone())
    with pytest.raises(NonFiniteLossError, match="squared length 0"):
        matching_gradient(problem.functions, problem.union, problem.step_size, still, problem.steps)


def test_momentum_update_is_the_one_of_torch():
    value = torch.tensor([1.0, -2.0], dtype=torch.float64)
    parameter = torch.nn.Parameter(value.clone())
    optimiser = torch.optim.SGD([parameter], lr=0.3, momentum=0.5)
    buffer = None
    for step in range(3):
        gradient = torch.tensor([0.1 + step, 2.0], dtype=torch.float64)
        value, buffer = momentum_update(value, gradient, buffer, 0.3, 0.5)
        parameter.grad = gradient
        optimiser.step()
    assert torch.allclose(value, parameter.detach(), rtol=1e-15)


def test_a_step_replays_its_augmentation():
    problem = Problem()
    step = next(step for step in problem.steps if step.draw is not None)
    again = InnerStep(step.indices, step.draw)
    first, _ = problem.union.batch(problem.union.leaves(), step)
    second, _ = problem.union.batch(problem.union.leaves(), again)
    assert torch.equal(first, second)


@pytest.mark.slow
def test_compiled_functions_give_the_exact_gradient(monkeypatch):
    # traced and differentiated like the default backend does, but without its code generation
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    problem = Problem(steps=4)
    eager = problem.gradient()
    problem.functions = InnerFunctions(problem.functions.network, compile=True)
    compiled = problem.gradient()
    assert relative_difference(compiled.images, eager.images) < 1e-9
    assert relative_difference(compiled.step_size, eager.step_size) < 1e-9
    assert relative_difference(compiled.student, eager.student) < 1e-12
    torch.compiler.reset()
