"""Costs: the numbers known without torch are those of the networks."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from pdd_ray.core.errors import ConfigError
from pdd_ray.models import create_model
from pdd_ray.models.cost import forward_operations, parameter_count
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.models.networks.densenet import DenseNetSpec
from pdd_ray.models.networks.plain import AlexNetSpec, LeNetSpec, MlpSpec, VggSpec
from pdd_ray.models.networks.resnet import ResNetSpec
from pdd_ray.models.plan import Shape
from pdd_ray.models.registry import ModelSpec
from tests.models.test_networks import SMALL


@pytest.mark.parametrize(
    ("spec", "shape", "classes", "published"),
    [
        (ConvNetSpec(), (3, 32, 32), 10, 320_010),
        (ConvNetSpec(), (3, 32, 32), 100, 504_420),
        (ConvNetSpec(depth=4), (3, 64, 64), 200, 857_160),
        (ResNetSpec(depth=10), (3, 32, 32), 10, 4_903_242),
        (ResNetSpec(depth=18), (3, 32, 32), 10, 11_173_962),
        (ResNetSpec(depth=10, family="idc", norm="batch"), (3, 32, 32), 10, 1_228_970),
        (ResNetSpec(depth=18, family="idc", norm="batch"), (3, 32, 32), 10, 2_797_610),
        (ResNetSpec(depth=18, downsampling="average"), (3, 32, 32), 10, 11_250_762),
        (
            ResNetSpec(depth=10, family="idc_imagenet", downsampling="average"),
            (3, 64, 64),
            10,
            4_903_242,
        ),
        (MlpSpec(), (3, 32, 32), 10, 411_146),
        (LeNetSpec(), (3, 32, 32), 10, 62_006),
        (AlexNetSpec(), (3, 32, 32), 10, 1_872_202),
        (AlexNetSpec(norm="batch"), (3, 32, 32), 10, 1_874_122),
        (VggSpec(), (3, 32, 32), 10, 9_231_114),
        (DenseNetSpec(), (3, 32, 32), 10, 1_000_618),
    ],
)
def test_full_networks_have_the_published_number_of_parameters(
    spec: ModelSpec, shape: Shape, classes: int, published: int
):
    assert parameter_count(spec, shape, classes) == published


@pytest.mark.parametrize(("spec", "shape"), SMALL)
def test_parameters_are_as_many_as_the_network_has(spec: ModelSpec, shape: Shape):
    model = create_model(spec, shape, 7, torch.Generator())
    assert parameter_count(spec, shape, 7) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("spec", "shape"), SMALL)
def test_operations_are_those_that_the_layers_do(spec: ModelSpec, shape: Shape):
    model = create_model(spec, shape, 7, torch.Generator())
    operations = []

    def count(module: nn.Module, _inputs: object, output: Tensor):
        weights = module.weight.numel()
        positions = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        operations.append(2.0 * weights * positions)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    assert forward_operations(spec, shape, 7) == sum(operations)


def test_costs_of_impossible_networks_are_refused():
    with pytest.raises(ConfigError, match="too deep"):
        parameter_count(ConvNetSpec(depth=6), (3, 32, 32), 10)


def test_costs_need_no_torch():
    code = "import sys, pdd_ray.models.cost; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
