"""Networks as functions of one vector."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pdd_ray.models import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.models.networks.resnet import ResNetSpec
from pdd_ray.models.plan import Shape
from pdd_ray.models.registry import ModelSpec
from tests.models.test_networks import SMALL, source


@pytest.mark.parametrize(("spec", "shape"), SMALL)
def test_the_vector_of_a_network_gives_its_logits(spec: ModelSpec, shape: Shape):
    model = create_model(spec, shape, 5, source())
    network = FlatModel(model)
    images = torch.randn(3, *shape, generator=source())
    torch.testing.assert_close(network(network.flatten(model), images), model(images))


def test_the_vector_holds_the_parameters_in_order():
    model = create_model(ConvNetSpec(width=4, depth=2), (3, 8, 8), 5, source())
    network = FlatModel(model)
    vector = network.flatten(model)
    assert vector.shape == (network.numel,)
    assert not vector.requires_grad
    for name, piece in network.unflatten(vector).items():
        assert torch.equal(piece, model.get_parameter(name))


def test_flatten_does_not_share_memory():
    model = create_model(ConvNetSpec(width=4, depth=1), (3, 8, 8), 5, source())
    vector = FlatModel(model).flatten(model)
    vector.zero_()
    assert model[-1].weight.abs().sum() > 0


def test_load_copies_a_vector_into_any_network_of_the_layout():
    spec = ConvNetSpec(width=4, depth=2)
    first, second = (create_model(spec, (3, 8, 8), 5, source(seed)) for seed in (1, 2))
    network = FlatModel(first)
    network.load(second, network.flatten(first))
    assert torch.equal(network.flatten(second), network.flatten(first))


def test_gradients_are_those_of_the_module():
    model = create_model(ConvNetSpec(width=4, depth=2), (3, 8, 8), 5, source()).double()
    network = FlatModel(model)
    images = torch.randn(3, 3, 8, 8, generator=source(), dtype=torch.float64)
    labels = torch.tensor([0, 3, 4])
    vector = network.flatten(model).requires_grad_()
    (flat,) = torch.autograd.grad(F.cross_entropy(network(vector, images), labels), vector)
    F.cross_entropy(model(images), labels).backward()
    expected = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    torch.testing.assert_close(flat, expected)


@pytest.mark.parametrize(
    "spec",
    [
        ConvNetSpec(width=2, depth=1),
        ConvNetSpec(width=2, depth=1, norm="batch", activation="swish"),
        ConvNetSpec(width=4, depth=1, norm="group", pooling="max"),
    ],
)
def test_second_derivatives_agree_with_finite_differences(spec: ModelSpec):
    model = create_model(spec, (1, 4, 4), 2, source()).double()
    network = FlatModel(model)
    images = torch.randn(2, 1, 4, 4, generator=source(), dtype=torch.float64)
    labels = torch.tensor([0, 1])

    def loss(vector: Tensor, images: Tensor):
        return F.cross_entropy(network(vector, images), labels)

    inputs = (network.flatten(model).requires_grad_(), images.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


def test_running_statistics_are_never_changed():
    spec = ResNetSpec(depth=10, family="idc", norm="batch")
    model = create_model(spec, (3, 8, 8), 5, source())
    network = FlatModel(model)
    before = {name: value.clone() for name, value in model.named_buffers()}
    network(network.flatten(model), torch.randn(4, 3, 8, 8, generator=source()))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_a_vector_of_another_precision_sets_the_precision():
    spec = ConvNetSpec(width=4, depth=1, norm="batch")
    model = create_model(spec, (3, 8, 8), 5, source())
    network = FlatModel(model)
    images = torch.randn(2, 3, 8, 8, generator=source(), dtype=torch.float64)
    assert network(network.flatten(model).double(), images).dtype == torch.float64
