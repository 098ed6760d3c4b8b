"""Distances of gradients against slow twins and finite differences."""

import math

import pytest
import torch

from pdd_ray.core.seeding import generator
from pdd_ray.methods.gradient_distance import GradientDistance, dc_distance, idc_distance

SHAPES = ((4, 2, 3, 3), (4,), (4, 5, 5), (3, 16), (3,))
METRICS = ("mse", "l1", "l1_mean", "cos", "overall_cos")


def gradients(name: str) -> list[torch.Tensor]:
    source = generator(2, "distance", name)
    return [torch.randn(shape, generator=source, dtype=torch.float64) for shape in SHAPES]


def slow_rows(first: torch.Tensor, second: torch.Tensor) -> float:
    total = 0.0
    for a, b in zip(first, second, strict=True):
        left, right = a.flatten().tolist(), b.flatten().tolist()
        inner = sum(x * y for x, y in zip(left, right, strict=True))
        norms = math.hypot(*left) * math.hypot(*right)
        total += 1 - inner / (norms + 1e-6)
    return total


def test_layerwise_distance_sums_cosines_of_outputs_without_vectors():
    first, second = gradients("a"), gradients("b")
    expected = sum(slow_rows(first[index], second[index]) for index in (0, 2, 3))
    assert float(dc_distance("layerwise")(first, second)) == pytest.approx(expected, rel=1e-12)


def test_mse_of_dc_counts_every_parameter():
    first, second = gradients("a"), gradients("b")
    expected = sum(
        (x - y) ** 2
        for a, b in zip(first, second, strict=True)
        for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
    )
    assert float(dc_distance("mse")(first, second)) == pytest.approx(expected, rel=1e-12)


def test_cosine_of_dc_is_one_angle_of_everything():
    first, second = gradients("a"), gradients("b")
    whole = [torch.cat([value.flatten() for value in side])[None] for side in (first, second)]
    expected = slow_rows(*whole)
    assert float(dc_distance("cosine")(first, second)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("bias", "fc", "used"),
    [
        (False, False, (0, 2)),
        (True, False, (0, 1, 2, 4)),
        (False, True, (0, 2, 3)),
        (True, True, (0, 1, 2, 3, 4)),
    ],
)
def test_idc_looks_at_kernels_and_at_what_is_asked_for(bias, fc, used):
    first, second = gradients("a"), gradients("b")
    expected = sum(float((first[index] - second[index]).abs().sum()) for index in used)
    distance = idc_distance("l1", bias=bias, fc=fc)
    assert float(distance(first, second)) == pytest.approx(expected, rel=1e-12)


def test_l1_mean_takes_the_mean_of_each_output():
    first, second = gradients("a"), gradients("b")
    expected = sum(
        float((a - b).abs().mean())
        for index in (0, 2)
        for a, b in zip(first[index], second[index], strict=True)
    )
    value = idc_distance("l1_mean")(first, second)
    assert float(value) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_derivative_equals_finite_differences(metric):
    distance = GradientDistance(metric, vectors=True, matrices=True)
    first, second = gradients("a"), gradients("b")
    direction = gradients("direction")
    leaves = [value.clone().requires_grad_() for value in first]
    derivatives = torch.autograd.grad(distance(leaves, second), leaves)
    expected = sum(float((a * b).sum()) for a, b in zip(derivatives, direction, strict=True))
    step = 1e-6
    ends = [
        float(
            distance([a + sign * step * b for a, b in zip(first, direction, strict=True)], second)
        )
        for sign in (1, -1)
    ]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_of_zeros_have_a_finite_derivative(metric):
    distance = GradientDistance(metric, vectors=True, matrices=True)
    zeros = [torch.zeros_like(value).requires_grad_() for value in gradients("a")]
    value = distance(zeros, gradients("b"))
    assert bool(value.isfinite())
    for derivative in torch.autograd.grad(value, zeros):
        assert bool(derivative.isfinite().all())


def test_the_norm_of_a_row_of_zeros_has_derivative_zero():
    target = torch.ones(1, 4, dtype=torch.float64)
    row = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(
        GradientDistance("cos", matrices=True)([row], [target]), row
    )
    assert torch.allclose(derivative, -target / 1e-6, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_the_result_has_the_dtype_of_the_gradients(metric):
    distance = GradientDistance(metric, vectors=True, matrices=True)
    first, second = ([value.float() for value in gradients(name)] for name in ("a", "b"))
    assert distance(first, second).dtype == torch.float32
