"""Networks: names, sizes, first values, limits."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pdd_ray.core.errors import ConfigError
from pdd_ray.models import create_model, parameter_shapes
from pdd_ray.models.initialise import initialise
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.models.networks.densenet import DenseNetSpec
from pdd_ray.models.networks.plain import AlexNetSpec, LeNetSpec, MlpSpec, VggSpec
from pdd_ray.models.networks.resnet import ResNetSpec
from pdd_ray.models.plan import Shape
from pdd_ray.models.registry import ModelSpec

SMALL: list[tuple[ModelSpec, Shape]] = [
    (ConvNetSpec(width=4, depth=2), (3, 8, 8)),
    (ConvNetSpec(width=4, depth=2), (1, 8, 8)),
    (ConvNetSpec(width=4, depth=2), (3, 8, 20)),
    (ConvNetSpec(width=4, depth=2, norm="none"), (3, 9, 8)),
    (ConvNetSpec(width=4, depth=2, norm="batch", activation="swish"), (3, 8, 8)),
    (ConvNetSpec(width=4, depth=2, norm="layer", pooling="max"), (3, 8, 8)),
    (ConvNetSpec(width=8, depth=1, norm="group", activation="leaky_relu"), (3, 8, 8)),
    (ConvNetSpec(width=4, depth=3, pooling="none", activation="sigmoid"), (1, 8, 8)),
    (ResNetSpec(depth=10, family="mtt", norm="instance"), (3, 25, 32)),
    (ResNetSpec(depth=18, family="mtt", norm="batch"), (3, 32, 32)),
    (ResNetSpec(depth=10, family="idc", norm="batch"), (1, 8, 8)),
    (ResNetSpec(depth=18, family="idc", norm="instance"), (3, 16, 24)),
    (ResNetSpec(depth=18, family="mtt", downsampling="average"), (3, 17, 8)),
    (ResNetSpec(depth=10, family="idc", norm="batch", downsampling="average"), (1, 8, 8)),
    (ResNetSpec(depth=10, family="idc_imagenet"), (3, 64, 10)),
    (ResNetSpec(depth=10, family="idc_imagenet"), (3, 9, 65)),
    (ResNetSpec(depth=10, family="idc_imagenet"), (3, 9, 129)),
    (ResNetSpec(depth=10, family="idc_imagenet", downsampling="average"), (3, 8, 64)),
    (ResNetSpec(depth=10, family="idc_imagenet", downsampling="average"), (3, 17, 65)),
    (ResNetSpec(depth=10, family="idc_imagenet", downsampling="average"), (3, 33, 129)),
    (MlpSpec(), (3, 4, 5)),
    (MlpSpec(), (1, 1, 1)),
    (LeNetSpec(), (3, 16, 20)),
    (LeNetSpec(), (1, 12, 12)),
    (AlexNetSpec(), (3, 8, 9)),
    (AlexNetSpec(norm="instance"), (1, 4, 4)),
    (AlexNetSpec(norm="batch"), (3, 8, 8)),
    (VggSpec(norm="instance"), (3, 32, 32)),
    (VggSpec(norm="batch"), (1, 28, 28)),
    (DenseNetSpec(), (3, 8, 9)),
]


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("spec", "shape"), SMALL)
def test_every_network_gives_one_logit_per_class_and_finite_gradients(
    spec: ModelSpec, shape: Shape
):
    model = create_model(spec, shape, 5, source())
    logits = model(torch.randn(3, *shape, generator=source()))
    assert logits.shape == (3, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("spec", "shape"), SMALL)
def test_all_but_the_last_layer_is_the_embedding(spec: ModelSpec, shape: Shape):
    model = create_model(spec, shape, 5, source()).eval()
    images = torch.randn(2, *shape, generator=source())
    assert isinstance(model[-1], nn.Linear)
    embedding = model[:-1](images)
    assert embedding.shape == (2, spec.plan(shape).features)
    assert torch.equal(model[-1](embedding), model(images))


@pytest.mark.parametrize(("spec", "shape"), SMALL)
def test_shapes_without_values_are_those_of_the_network(spec: ModelSpec, shape: Shape):
    model = create_model(spec, shape, 5, source())
    expected = {name: tuple(value.shape) for name, value in model.named_parameters()}
    assert list(parameter_shapes(spec, shape, 5).items()) == list(expected.items())


@pytest.mark.parametrize(("spec", "shape"), SMALL)
def test_nothing_works_in_place(spec: ModelSpec, shape: Shape):
    model = create_model(spec, shape, 5, source())
    assert not any(getattr(module, "inplace", False) for module in model.modules())


@pytest.mark.parametrize(("spec", "shape"), SMALL)
def test_values_come_from_the_given_generator_alone(spec: ModelSpec, shape: Shape):
    before = torch.get_rng_state()
    first, second = (create_model(spec, shape, 5, source(3)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    other = create_model(spec, shape, 5, source(4))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    weights = [next(model.parameters()) for model in (first, other)]
    assert not torch.equal(*weights)


def test_convnet_has_the_names_and_order_of_the_reference():
    shapes = parameter_shapes(ConvNetSpec(width=16, depth=3), (3, 32, 32), 10)
    names = [
        f"features.{4 * block + part}.{kind}"
        for block in range(3)
        for part in (0, 1)
        for kind in ("weight", "bias")
    ]
    assert list(shapes) == [*names, "classifier.weight", "classifier.bias"]


def test_convnet_without_norm_moves_up_in_the_sequence():
    shapes = parameter_shapes(ConvNetSpec(width=4, depth=3, norm="none"), (3, 32, 32), 10)
    assert [name for name in shapes if name.endswith("weight")] == [
        "features.0.weight",
        "features.3.weight",
        "features.6.weight",
        "classifier.weight",
    ]


def test_first_convolution_of_gray_images_has_padding_three():
    gray = create_model(ConvNetSpec(width=4, depth=2), (1, 8, 8), 5, source())
    rgb = create_model(ConvNetSpec(width=4, depth=2), (3, 8, 8), 5, source())
    paddings = [
        [module.padding for module in model.modules() if isinstance(module, nn.Conv2d)]
        for model in (gray, rgb)
    ]
    assert paddings == [[(3, 3), (1, 1)], [(1, 1), (1, 1)]]
    assert gray[-1].in_features == 4 * 3 * 3


def test_convolutions_and_classifier_are_uniform_within_the_default_bounds():
    model = create_model(ConvNetSpec(width=64, depth=3), (3, 32, 32), 10, source())
    for module in model.requires_grad_(False).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for value in (module.weight, module.bias):
                assert float(value.abs().max()) <= bound * (1 + 1e-6)  # float32 rounding
            # a uniform value's deviation is bound / sqrt(3); 3 % is ten standard errors of the
            # smallest weight here (1728 values)
            assert float(module.weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.03)
            assert float(module.weight.abs().max()) > 0.98 * bound


def test_norms_start_as_identities():
    model = create_model(ConvNetSpec(width=4, depth=2, norm="batch"), (3, 8, 8), 5, source())
    norm = model.get_submodule("features.1")
    state = {name: float(value.float().mean()) for name, value in norm.state_dict().items()}
    assert state == {
        "weight": 1,
        "bias": 0,
        "running_mean": 0,
        "running_var": 1,
        "num_batches_tracked": 0,
    }


@pytest.mark.parametrize("family", ["idc", "idc_imagenet"])
def test_idc_resnets_draw_convolutions_from_a_normal_by_fan_out(family: str):
    model = create_model(ResNetSpec(depth=10, family=family, norm="batch"), (3, 8, 8), 5, source())
    for module in model.requires_grad_(False).modules():
        if isinstance(module, nn.Conv2d):
            std = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            # four standard errors of a standard deviation estimated from the weight's values
            error = 4 / math.sqrt(2 * module.weight.numel())
            assert float(module.weight.std()) == pytest.approx(std, rel=error)
            assert float(module.weight.abs().max()) > 2 * std


@pytest.mark.parametrize("kind", [lambda: nn.Conv2d(16, 64, 3), lambda: nn.Linear(16, 256)])
def test_the_default_initialisation_is_that_of_torch(kind: Callable[[], nn.Conv2d | nn.Linear]):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = kind()
    expected = [value.detach().clone() for value in (layer.weight, layer.bias)]
    initialise(layer, source())
    for got, value in zip((layer.weight.detach(), layer.bias.detach()), expected, strict=True):
        # the largest of 64 uniform values is below 90 % of the bound once in a thousand
        assert float(got.abs().max()) == pytest.approx(float(value.abs().max()), rel=0.1)


def test_a_layer_without_known_initialisation_is_refused():
    with pytest.raises(TypeError, match="Bilinear"):
        initialise(nn.Sequential(nn.Bilinear(2, 2, 2)), source())


@pytest.mark.parametrize(
    ("depth", "shape", "deepest"), [(4, (3, 8, 8), 3), (3, (3, 4, 32), 2), (9, (1, 8, 8), 3)]
)
def test_a_convnet_too_deep_for_its_images_is_refused(depth: int, shape: Shape, deepest: int):
    with pytest.raises(ConfigError, match=f"use depth <= {deepest}"):
        create_model(ConvNetSpec(width=4, depth=depth), shape, 5, source())
    create_model(ConvNetSpec(width=4, depth=deepest), shape, 5, source())


def test_group_norm_needs_a_divisible_width():
    with pytest.raises(ConfigError, match="divisible by 4, got width 6"):
        create_model(ConvNetSpec(width=6, norm="group"), (3, 32, 32), 5, source())


@pytest.mark.parametrize("side", [8, 24, 57, 64])
def test_mtt_resnets_refuse_sizes_that_their_pooling_cannot_take(side: int):
    with pytest.raises(ConfigError, match=r"25 to 56 pixels"):
        create_model(ResNetSpec(family="mtt"), (3, side, 32), 5, source())


@pytest.mark.parametrize(("downsampling", "side"), [("stride", 8), ("average", 15)])
def test_idc_resnets_refuse_maps_that_instance_norm_would_erase(downsampling: str, side: int):
    spec = ResNetSpec(depth=10, family="idc", norm="instance", downsampling=downsampling)
    with pytest.raises(ConfigError, match=f"1x1 maps.* more than {side} pixels"):
        create_model(spec, (3, side, side), 5, source())
    create_model(spec, (3, side + 1, side + 1), 5, source())


@pytest.mark.parametrize(
    ("spec", "channels", "smallest"),
    [
        (LeNetSpec(), 3, 16),
        (LeNetSpec(), 1, 12),
        (AlexNetSpec(), 3, 8),
        (AlexNetSpec(norm="batch"), 1, 4),
        (VggSpec(), 3, 32),
        (VggSpec(norm="batch"), 1, 28),
        (DenseNetSpec(), 3, 8),
        (ResNetSpec(depth=10, family="mtt", downsampling="average", norm="batch"), 3, 8),
    ],
)
def test_images_that_leave_nothing_are_refused(spec: ModelSpec, channels: int, smallest: int):
    images = torch.zeros(2, channels, smallest, smallest)
    assert create_model(spec, (channels, smallest, smallest), 5, source())(images).shape == (2, 5)
    for shape in ((channels, smallest - 1, 64), (channels, 64, smallest - 1)):
        with pytest.raises(ConfigError, match=f"too small.* at least {smallest} pixels a side"):
            create_model(spec, shape, 5, source())


@pytest.mark.parametrize(("longer", "smallest"), [(64, 8), (65, 16), (128, 16), (129, 32)])
def test_the_first_layer_of_imagenet_resnets_reduces_large_images(longer: int, smallest: int):
    spec = ResNetSpec(depth=10, family="idc_imagenet", downsampling="average", norm="batch")
    create_model(spec, (3, smallest, longer), 5, source())
    with pytest.raises(ConfigError, match=f"at least {smallest} pixels a side"):
        create_model(spec, (3, smallest - 1, longer), 5, source())


@pytest.mark.parametrize("spec", [LeNetSpec(), AlexNetSpec(), VggSpec()])
def test_gray_images_of_28_pixels_leave_maps_as_large_as_rgb_ones_of_32(spec: ModelSpec):
    gray, rgb = (spec.plan(shape) for shape in ((1, 28, 28), (3, 32, 32)))
    assert gray.convolutions[-1] == rgb.convolutions[-1]
    assert gray.features == rgb.features


def test_average_downsampling_of_the_mtt_family_keeps_the_last_map():
    spec = ResNetSpec(family="mtt", norm="batch", downsampling="average")
    assert spec.plan((3, 32, 32)).features == 512 * 4 * 4
    assert spec.plan((3, 40, 64)).features == 512 * 5 * 8
