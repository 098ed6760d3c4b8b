"""Batches in parts give what whole ones give but for rounding; those of batch norm stay whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pdd_ray.core.processes import in_parts
from pdd_ray.models.batch_norm import mixes_images
from pdd_ray.training.chunks import (
    backward,
    joined,
    mean_adjoint,
    mean_gradient,
    parts_of,
    rest_of,
    size_at_once,
    total,
)
from pdd_ray.training.loop import mean_cross_entropy


def sizes(count, **options):
    return [len(part) for (part,) in parts_of(torch.arange(count), **options)]


def test_a_batch_is_split_in_order_as_long_as_it_is_wanted():
    assert sizes(10) == [10]
    with in_parts(4):
        assert sizes(10) == [3, 3, 2, 2]
        assert sizes(3) == [1, 1, 1]
        assert sizes(0) == [0]
        assert sizes(10, together=True) == [10]
        assert [size_at_once(256, images) for images in (1000, 100, 3, 0)] == [64, 25, 1, 1]
        assert torch.equal(
            joined([part for (part,) in parts_of(torch.arange(10))]), torch.arange(10)
        )
    assert sizes(10) == [10]
    assert [size_at_once(256, images) for images in (1000, 100, 0)] == [256, 100, 1]


def test_weights_are_split_along_the_images():
    images, weights = torch.arange(5), torch.arange(10).view(2, 5)
    with in_parts(2):
        (_, first), (_, second) = parts_of(images, weights)
    assert (first.tolist(), second.tolist()) == ([[0, 1, 2], [5, 6, 7]], [[3, 4], [8, 9]])


def test_sums_of_tensors_and_of_tuples():
    one, two, three = (torch.tensor([float(value)]) for value in (1, 2, 4))
    assert total([one, two, three]) == 7
    assert [float(rest) for rest in rest_of([one, two, three])] == [6, 5, 3]
    assert total([(one, two), (two, three)]) == (3, 6)
    assert rest_of([(one, two), (two, three)]) == [(2, 4), (1, 2)]


def network(norm: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 5), norm or nn.Tanh(), nn.Linear(5, 3)
    ).double()


def batch(count=7):
    source = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 2, 2, generator=source, dtype=torch.float64)
    return images, torch.arange(count) % 3


def gradients(model):
    loss = backward(mean_cross_entropy, model, *batch())
    return [loss, *(parameter.grad for parameter in model.parameters())]


def test_a_training_step_in_parts_has_the_same_gradient():
    whole = gradients(network())
    with in_parts(4):
        parts = gradients(network())
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=1e-15)
    assert not any(torch.equal(*pair) for pair in zip(parts[2:3], whole[2:3], strict=True))


def test_a_batch_of_batch_norm_stays_whole():
    model = network(nn.BatchNorm1d(5))
    assert mixes_images(model)
    whole = gradients(network(nn.BatchNorm1d(5)))
    with in_parts(4):
        parts = gradients(model)
    assert all(torch.equal(*pair) for pair in zip(parts, whole, strict=True))
    assert not mixes_images(model.eval())
    assert mixes_images(nn.BatchNorm1d(5, track_running_stats=False).eval())


@pytest.mark.parametrize("soft", [False, True])
def test_the_adjoint_in_parts_has_the_same_derivatives(soft):
    images, labels = batch()
    targets = torch.softmax(torch.randn(7, 3, dtype=torch.float64), 1) if soft else labels
    weights = torch.randn(36, dtype=torch.float64)
    vector = torch.randn(36, dtype=torch.float64)

    def loss(theta, images, targets):
        return nn.functional.cross_entropy(images.flatten(1).tanh() @ theta.view(12, 3), targets)

    def gradient(theta, images, targets):
        value, found = torch.func.grad_and_value(loss)(theta, images, targets)
        return value, found

    def adjoint(theta, images, targets, vector):
        def product(*arguments):
            return vector @ torch.func.grad(loss)(*arguments)

        wanted = (0, 1, 2) if soft else (0, 1)
        derivatives, value = torch.func.grad_and_value(product, argnums=wanted)(
            theta, images, targets
        )
        return derivatives, value

    for function, wrapped, arguments in (
        (gradient, mean_gradient, (weights, images, targets)),
        (adjoint, mean_adjoint, (weights, images, targets, vector)),
    ):
        expected = function(*arguments)
        with in_parts(3):
            torch.testing.assert_close(
                wrapped(function, together=False)(*arguments), expected, rtol=1e-12, atol=1e-14
            )
            whole = wrapped(function, together=True)(*arguments)
        assert torch.equal(whole[1], expected[1])
