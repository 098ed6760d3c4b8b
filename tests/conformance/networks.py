"""Checks of networks: logits, gradients, running statistics, names and order of parameters."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pdd_ray.interop.idc_convnet import convnet_from_idc, idc_convnet_names
from pdd_ray.models.cost import parameter_count
from pdd_ray.models.factory import create_model
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.models.networks.densenet import DenseNetSpec
from pdd_ray.models.networks.plain import AlexNetSpec, LeNetSpec, MlpSpec, VggSpec
from pdd_ray.models.networks.resnet import ResNetSpec
from pdd_ray.models.registry import ModelSpec
from tests.conformance.closeness import (
    Bound,
    assert_close,
    assert_digest,
    assert_output,
    largest,
)
from tests.conformance.reading import Vector, formula_buffer, formula_weight

ZERO = 1e-12
"""Gradients of biases that a norm cancels are zero up to rounding: absolute tolerance (remarks)."""
NORMS = {
    "none": "none",
    "batchnorm": "batch",
    "layernorm": "layer",
    "instancenorm": "instance",
    "groupnorm": "group",
}
ACTIVATIONS = {"relu": "relu", "sigmoid": "sigmoid", "leakyrelu": "leaky_relu", "swish": "swish"}
POOLINGS = {"avgpooling": "average", "maxpooling": "max", "none": "none"}

POOL: dict[str, ModelSpec] = {
    "MLP": MlpSpec(),
    "LeNet": LeNetSpec(),
    "AlexNet": AlexNetSpec(),
    "AlexNetBN": AlexNetSpec(norm="batch"),
    "VGG11": VggSpec(),
    "VGG11BN": VggSpec(norm="batch"),
    "ResNet18": ResNetSpec(),
    "ResNet18BN": ResNetSpec(norm="batch"),
    "ResNet18BN_AP": ResNetSpec(norm="batch", downsampling="average"),
}
"""DC's networks by the names of its code."""


def check_convnet(vector: Vector) -> None:
    spec = ConvNetSpec(width=vector.values["width"], depth=vector.values["depth"])
    _check_network(vector, spec, vector.values, "")


def check_resnet(vector: Vector) -> None:
    names = vector.values["param_names"]
    norm = "batch" if vector.values.get("buffer_names") else "instance"
    spec = ResNetSpec(
        depth=18 if any(name.startswith("layer1.1.") for name in names) else 10,
        family=_family(vector.values.get("dataset_name")),
        norm=vector.values.get("norm", norm),
        downsampling="average" if any("downsample.2" in name for name in names) else "stride",
    )
    _check_network(vector, spec, vector.values, "")


def _family(dataset: str | None) -> str:
    """Return the family of a vector; those of IDC name their data set."""
    if dataset is None:
        return "mtt"
    return "idc" if dataset.startswith("cifar") else "idc_imagenet"


def check_variants(vector: Vector) -> None:
    if "variants" in vector.values:
        _check_convnet_variants(vector)
    elif "networks" in vector.values:
        for network in vector.values["networks"]:
            _check_network(vector, POOL[network["name"]], network, f".{network['name']}")
    else:
        _check_network(vector, DenseNetSpec(), vector.values, "")


def _check_convnet_variants(vector: Vector) -> None:
    for variant in vector.values["variants"]:
        spec = ConvNetSpec(
            width=vector.values["width"],
            depth=vector.values["depth"],
            norm=NORMS[variant["norm"]],
            activation=ACTIVATIONS[variant["act"]],
            pooling=POOLINGS[variant["pool"]],
        )
        _check_network(vector, spec, variant, f".{variant['name']}")


def check_idc_network(vector: Vector) -> None:
    values = vector.values
    spec = ConvNetSpec(width=values["width"], depth=values["depth"])
    shape = tuple(vector["x"].shape[1:])
    model = create_model(spec, shape, values["classes"], torch.Generator()).to(vector.dtype)
    names = idc_convnet_names(spec)
    ours = dict(model.named_parameters())
    theirs = {name: ours[names[name]] for name in names}
    assert list(theirs) == values["param_names"]
    assert [list(value.shape) for value in theirs.values()] == values["param_shapes"]
    weights = convnet_from_idc(spec, {name: vector[f"param.{name}"] for name in names})
    assert list(weights) == list(ours)
    model.load_state_dict(weights)
    _check_outputs(vector, model, theirs, "")
    features = model.get_submodule("features")
    for block in range(spec.depth):
        output = features[: (block + 1) * len(features) // spec.depth](vector["x"])
        _check_digest(vector, f"feature{block}{{}}", output)


def formula_model(
    vector: Vector, spec: ModelSpec, layout: Mapping[str, Any], shape: tuple[int, int, int]
) -> nn.Sequential:
    """Return the network with stored weights or those of the formula, after checking its layout."""
    classes = vector.values["classes"]
    model = create_model(spec, shape, classes, torch.Generator()).to(vector.dtype)
    parameters = dict(model.named_parameters())
    assert list(parameters) == layout["param_names"]
    if "param_shapes" in layout:
        assert [list(value.shape) for value in parameters.values()] == layout["param_shapes"]
    count = sum(value.numel() for value in parameters.values())
    assert parameter_count(spec, shape, classes) == count == layout.get("param_count", count)
    seed = vector.values["formula_seed"]
    with torch.no_grad():
        for number, (name, value) in enumerate(parameters.items()):
            stored = f"param.{name}"
            weight = (
                vector[stored]
                if vector.has(stored)
                else formula_weight(name, tuple(value.shape), seed, number)
            )
            value.copy_(weight)
        for number, (name, value) in enumerate(_statistics(model, layout).items()):
            value.copy_(formula_buffer(name, tuple(value.shape), seed, number))
    return model


def _statistics(model: nn.Module, layout: Mapping[str, Any]) -> dict[str, Tensor]:
    statistics = {name: value for name, value in model.named_buffers() if value.is_floating_point()}
    assert list(statistics) == layout.get("buffer_names", [])
    return statistics


def _check_network(vector: Vector, spec: ModelSpec, layout: Mapping[str, Any], suffix: str) -> None:
    model = formula_model(vector, spec, layout, tuple(vector["x"].shape[1:]))
    _check_outputs(vector, model, dict(model.named_parameters()), suffix)
    if vector.has("bn_after_digest"):
        _check_rows(vector, "bn_after", list(_statistics(model, layout).values()))


def _check_outputs(
    vector: Vector, model: nn.Sequential, parameters: Mapping[str, Tensor], suffix: str
) -> None:
    """Check logits, loss and gradients; ``parameters`` have the vector's names and order."""
    images = vector["x"].requires_grad_()
    _check(vector, f"logits_eval{suffix}", model.eval()(images), "logits_and_loss")
    logits = model.train()(images)
    loss = F.cross_entropy(logits, vector["y"])
    _check(vector, f"logits_train{suffix}", logits, "logits_and_loss")
    _check(vector, f"loss_train{suffix}", loss, "logits_and_loss")
    *gradients, image_gradient = torch.autograd.grad(loss, [*parameters.values(), images])
    _check_gradients(vector, suffix, dict(zip(parameters, gradients, strict=True)))
    _check_image_gradient(vector, image_gradient)
    if vector.has("features"):
        _check(vector, "features", model[:-1](images), "logits_and_loss")


def _relative(vector: Vector, group: str) -> float:
    return vector.tolerance["rtol" if vector.dtype == torch.float64 else group]


def _bound(vector: Vector, group: str, scale: Tensor) -> Bound:
    """Return the stated bound; in float32 it is relative to the largest of ``scale``."""
    relative = _relative(vector, group)
    if vector.dtype == torch.float64:
        return Bound(relative, vector.tolerance["atol"])
    return largest(scale.detach(), relative)


def _check(vector: Vector, name: str, got: Tensor, group: str) -> None:
    assert_output(vector, name, got, _bound(vector, group, vector.expected(name)))


def _check_gradients(vector: Vector, suffix: str, gradients: dict[str, Tensor]) -> None:
    scale = torch.stack([value.abs().max() for value in gradients.values()])
    for name, value in gradients.items():
        stored = f"grad_train{suffix}.{name}"
        if vector.has(stored):
            zero = vector.dtype == torch.float64 and _is_zero(name, vector.expected(stored))
            bound = Bound(absolute=ZERO) if zero else _bound(vector, "gradients_and_digests", scale)
            assert_output(vector, stored, value, bound)
    if vector.has(f"grad_digest_train{suffix}"):
        _check_gradient_rows(vector, suffix, gradients, scale)


def _check_gradient_rows(
    vector: Vector, suffix: str, gradients: dict[str, Tensor], scale: Tensor
) -> None:
    digests = vector.expected(f"grad_digest_train{suffix}")
    heads_name = f"grad_head_train{suffix}"
    norm = None if vector.dtype == torch.float64 else digests[:, 0].max()
    relative = _relative(vector, "gradients_and_digests")
    for row, (name, value) in enumerate(gradients.items()):
        zero = vector.dtype == torch.float64 and _is_zero(name, digests[row, 0])
        if zero:
            assert_close(name, value, torch.zeros_like(value), Bound(absolute=ZERO))
        else:
            assert_digest(f"{name} {suffix}", value, digests[row], relative, norm)
        if vector.has(heads_name):
            bound = Bound(absolute=ZERO) if zero else _bound(vector, "gradients_and_digests", scale)
            _check_head(name, value, vector.expected(heads_name)[row], bound)


def _is_zero(name: str, expected: Tensor) -> bool:
    """Return whether a norm cancels this bias, so that its gradient is rounding noise."""
    convolution = name.startswith(("features", "layers.conv"))
    return convolution and name.endswith("bias") and float(expected.norm()) < ZERO


def _check_head(name: str, got: Tensor, expected: Tensor, bound: Bound) -> None:
    flat = got.reshape(-1)[: len(expected)]
    padded = F.pad(flat, (0, len(expected) - len(flat)))
    assert_close(f"{name} head", padded, expected, bound)


def _check_rows(vector: Vector, name: str, tensors: list[Tensor]) -> None:
    relative = _relative(vector, "gradients_and_digests")
    for row, value in enumerate(tensors):
        assert_digest(f"{name} {row}", value, vector.expected(f"{name}_digest")[row], relative)
        bound = _bound(vector, "gradients_and_digests", value)
        _check_head(f"{name} {row}", value, vector.expected(f"{name}_head")[row], bound)


def _check_image_gradient(vector: Vector, got: Tensor) -> None:
    if vector.has("grad_x_train"):
        _check(vector, "grad_x_train", got, "gradients_and_digests")
    if vector.has("grad_x_digest_train"):
        _check_digest(vector, "grad_x{}_train", got)


def _check_digest(vector: Vector, name: str, got: Tensor) -> None:
    """Compare ``got`` with digest and first values, whose names put `_digest`, `_head` in {}."""
    group = "gradients_and_digests"
    expected = vector.expected(name.format("_digest"))
    assert_digest(name, got, expected, _relative(vector, group))
    _check_head(name, got, vector.expected(name.format("_head")), _bound(vector, group, got))
