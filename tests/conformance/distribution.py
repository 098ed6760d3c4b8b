"""Checks of matching features: one update of DM's and of CAFE's images."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pdd_ray.methods.cafe import CafeMatcher, CafeWeights, cafe_gradients, feature_distance
from pdd_ray.methods.class_matching import ClassTask
from pdd_ray.methods.dm import ClassBatches, DmMatcher
from pdd_ray.methods.trajectory_loss import momentum_update
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.augmentation.dsa import Draw
from pdd_ray.training.augmentation.rules import Augmentation
from tests.conformance.closeness import assert_digest, assert_output, largest
from tests.conformance.reading import Vector

NORMS = {"ConvNet": "instance", "ConvNetBN": "batch"}


def check_dm(vector: Vector) -> None:
    spec = _spec(vector)
    theta, tasks = _theta(vector, spec), _tasks(vector, "step0.")
    matches = DmMatcher(spec, _batches(vector, spec)).match(theta, tasks)
    gradient = torch.cat([match.gradient for match in matches])
    _check(vector, "step0.grad_images", gradient)
    _check_update(vector, "step0.images_after_digest", gradient)
    if vector.has("bn_stats"):
        _check_statistics(vector, spec, tasks)


def check_cafe(vector: Vector) -> None:
    spec = _spec(vector)
    theta, tasks = _theta(vector, spec), _tasks(vector, "")
    given = vector.values["weights"]
    assert given["f1"] == given["f2"]
    assert given["f3"] == given["f4"]
    weights = CafeWeights(given["f1"], given["f3"], 1.0, given["dis"])
    matcher = CafeMatcher(spec, _batches(vector, spec))
    loss, gradients = cafe_gradients(matcher, theta, tasks, weights)
    for number, distance in enumerate(loss.distances, start=1):
        _check(vector, f"dist_f{number}", distance)
    _check(vector, "dist_f5", loss.distances[-1])
    _check(vector, "dis_sum", loss.discrimination)
    cross_entropy = _real_cross_entropy(vector, spec, theta, tasks)
    _check(vector, "ce_real", cross_entropy)
    _check(vector, "loss", loss.total + cross_entropy)
    gradient = torch.cat(gradients)
    _check(vector, "grad_images", gradient)
    _check_update(vector, "images_after_digest", gradient)
    classes = vector.values["classes"]
    means = [
        vector[name].unflatten(0, (classes, -1)).mean(dim=1) for name in ("given_real", "given_syn")
    ]
    _check(vector, "given_dist", feature_distance(*means))


def _spec(vector: Vector) -> ConvNetSpec:
    values = vector.values
    norm = NORMS[values.get("model", "ConvNet")]
    return ConvNetSpec(width=values["width"], depth=values["depth"], norm=norm)


def _network(vector: Vector, spec: ConvNetSpec) -> torch.nn.Sequential:
    shape = tuple(vector["images"].shape[1:])
    return create_model(spec, shape, vector.values["classes"], torch.Generator()).to(vector.dtype)


def _theta(vector: Vector, spec: ConvNetSpec) -> Tensor:
    names = vector.values["param_names"]
    assert list(FlatModel(_network(vector, spec)).names) == names
    return torch.cat([vector[f"param.{name}"].flatten() for name in names])


def _real(vector: Vector) -> Tensor:
    mean, std = (torch.tensor(vector.values[name], dtype=torch.float64) for name in ("mean", "std"))
    pixels = vector["real_u8"].double() / 255
    prepared = (pixels - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    return prepared.float().to(vector.dtype)


def _batches(vector: Vector, spec: ConvNetSpec) -> ClassBatches:
    real = _real(vector)
    nothing = torch.zeros(0, dtype=torch.int64)
    return ClassBatches(real, real[:0], nothing, together=spec.norm == "batch")


def _tasks(vector: Vector, step: str) -> list[ClassTask]:
    count = vector.values["ipc"]
    return [
        ClassTask(label, real, images, _augmentation(vector, f"{step}class{label}"))
        for label, (real, images) in enumerate(
            zip(vector[f"{step}real_idx"], vector["images"].split(count), strict=True)
        )
    ]


def _augmentation(vector: Vector, name: str) -> Augmentation:
    item = vector.values.get("augmentation", {}).get(name)
    if item is None:
        return Augmentation(())
    draws = {draw: vector[f"{name}.{draw}"] for draw in item["draws"]}
    return Augmentation((Draw(item["op"], draws),), align_corners=False)


def _real_cross_entropy(
    vector: Vector, spec: ConvNetSpec, theta: Tensor, tasks: list[ClassTask]
) -> Tensor:
    real = _real(vector)
    images = torch.cat([task.augmentation.apply(real[task.real]) for task in tasks])
    labels = torch.cat([torch.full((len(task.real),), task.label) for task in tasks])
    return F.cross_entropy(FlatModel(_network(vector, spec))(theta, images), labels)


def _check_statistics(vector: Vector, spec: ConvNetSpec, tasks: list[ClassTask]) -> None:
    """Check what running statistics would be if the network kept them."""
    network = _network(vector, spec)
    FlatModel(network).load(network, _theta(vector, spec))
    real = _real(vector)
    with torch.no_grad():
        network(torch.cat([real[task.real] for task in tasks]))
        network(torch.cat([task.images for task in tasks]))
    statistics = [value for _, value in network.named_buffers() if value.is_floating_point()]
    _check(vector, "bn_stats", torch.cat(statistics))


def _check(vector: Vector, name: str, got: Tensor) -> None:
    relative = vector.tolerance["rtol_of_largest"]
    assert_output(vector, name, got, largest(vector.expected(name), relative))


def _check_update(vector: Vector, name: str, gradient: Tensor) -> None:
    values = vector.values
    images, _ = momentum_update(
        vector["images"], gradient, None, values["lr_img"], values["momentum"]
    )
    assert_digest(name, images, vector.expected(name), vector.tolerance["rtol_of_largest"])
