"""Checks of DC and DSA: distances of gradients, and image updates along a network's training."""

from typing import Any

import torch
from torch import Tensor, nn

from pdd_ray.methods.class_matching import ClassMatch, ClassTask
from pdd_ray.methods.dc import batch_norm_statistics
from pdd_ray.methods.gradient_distance import GradientDistance, dc_distance
from pdd_ray.methods.gradient_matching import GradientMatcher
from pdd_ray.methods.trajectory_loss import momentum_update
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.augmentation.dsa import Draw
from pdd_ray.training.augmentation.rules import Augmentation
from pdd_ray.training.loop import Batch, Sgd, TrainingState, train
from tests.conformance.closeness import Bound, assert_digest, assert_output, largest
from tests.conformance.reading import Vector

DISTANCES = {
    "ours": dc_distance("layerwise"),
    "mse": dc_distance("mse"),
    "cos": dc_distance("cosine"),
}


def check_distance(vector: Vector) -> None:
    count = len(vector.values["shapes"])
    bound = Bound(vector.tolerance["rtol"], vector.tolerance["atol"])
    real = [vector[f"real.{index}"] for index in range(count)]
    for name, distance in DISTANCES.items():
        synthetic = [vector[f"syn.{index}"].requires_grad_() for index in range(count)]
        value = distance(synthetic, real)
        assert_output(vector, f"{name}.distance", value, bound)
        derivatives = torch.autograd.grad(value, synthetic, allow_unused=True)
        for index, derivative in enumerate(derivatives):
            got = torch.zeros_like(synthetic[index]) if derivative is None else derivative
            assert_output(vector, f"{name}.grad.{index}", got, bound)


def check_loop(vector: Vector) -> None:
    """Check every outer step: losses, image gradient and update, then the network's training."""
    loop = _Loop(vector)
    steps, _ = vector.values["outer_inner"]
    for step in range(steps):
        stem = f"step{step}"
        matches = loop.match(stem)
        _check(vector, f"{stem}.class_loss", torch.stack([match.loss for match in matches]))
        gradient = torch.cat([match.gradient for match in matches])
        _check(vector, f"{stem}.grad_images", gradient)
        loop.update(gradient)
        if vector.dtype == torch.float64:
            relative = vector.tolerance["rtol_of_largest"]
            name = f"{stem}.images_after_digest"
            assert_digest(name, loop.images, vector.expected(name), relative)
        if step == steps - 1 and loop.statistics is not None:
            _check(vector, "bn_stats", torch.cat(list(loop.statistics.values())))
        if vector.has(f"{stem}.inner_order"):
            loop.train(stem)
            name = f"{stem}.theta_after"
            if vector.has(name):
                _check(vector, name, FlatModel(loop.model).flatten(loop.model))


class _Loop:
    def __init__(self, vector: Vector) -> None:
        values = vector.values
        self.vector = vector
        self.images = vector["images"]
        self.classes = values["classes"]
        self.labels = torch.arange(self.classes).repeat_interleave(values["ipc"])
        self.buffer: Tensor | None = None
        self.statistics: dict[str, Tensor] | None = None
        self.real = _real(vector)
        self.norm = "batch" if values["model"] == "ConvNetBN" else "instance"
        spec = ConvNetSpec(width=values["width"], depth=values["depth"], norm=self.norm)
        shape = (values["channels"], values["image_size"], values["image_size"])
        self.model = _model(vector, spec, shape)
        distance: GradientDistance = DISTANCES[values["metric"]]
        self.matcher = GradientMatcher(
            spec, self.classes, self.real, self.images[:0], self.labels[:0], distance
        )

    def match(self, stem: str) -> list[ClassMatch]:
        vector = self.vector
        if self.norm == "batch":
            calibration = self.real[vector[f"{stem}.bn_idx"].flatten()]
            self.statistics = batch_norm_statistics(self.model, calibration)
        tasks = [
            ClassTask(
                label,
                vector[f"{stem}.real_idx"][label],
                self.images[self.labels == label],
                _augmentation(vector, f"{stem}.class{label}"),
            )
            for label in range(self.classes)
        ]
        theta = FlatModel(self.model).flatten(self.model)
        return self.matcher.match(theta, tasks, self.statistics)

    def update(self, gradient: Tensor) -> None:
        values = self.vector.values
        self.images, self.buffer = momentum_update(
            self.images, gradient, self.buffer, values["lr_img"], values["momentum"]
        )

    def train(self, stem: str) -> None:
        order = self.vector[f"{stem}.inner_order"]
        size = self.vector.values["batch_train"]
        per_epoch = -(-order.shape[1] // size)

        def batches(epoch: int) -> list[Batch]:
            return [
                Batch(
                    indices, _augmentation(self.vector, f"{stem}.inner{epoch * per_epoch + number}")
                )
                for number, indices in enumerate(order[epoch].split(size))
            ]

        rates = [self.vector.values["lr_net"]] * len(order)
        train(TrainingState(self.model), self.images, self.labels, rates, batches, Sgd())


def _model(vector: Vector, spec: ConvNetSpec, shape: tuple[int, int, int]) -> nn.Module:
    model = create_model(spec, shape, vector.values["classes"], torch.Generator())
    model = model.to(vector.dtype)
    names = vector.values["param_names"]
    assert [name for name, _ in model.named_parameters()] == names
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(vector[f"param.{name}"])
    return model


def _real(vector: Vector) -> Tensor:
    mean, deviation = (
        torch.tensor(vector.values[name], dtype=torch.float64).view(-1, 1, 1)
        for name in ("mean", "std")
    )
    return ((vector["real_u8"].double() / 255 - mean) / deviation).float().to(vector.dtype)


def _augmentation(vector: Vector, where: str) -> Augmentation:
    stated: dict[str, Any] = vector.values.get("augmentation", {})
    if where not in stated:
        return Augmentation(())
    item = stated[where]
    draw = Draw(item["op"], {name: vector[f"{where}.{name}"] for name in item["draws"]})
    return Augmentation((draw,), align_corners=False)


def _check(vector: Vector, name: str, got: Tensor) -> None:
    bound = largest(vector.expected(name), vector.tolerance["rtol_of_largest"])
    assert_output(vector, name, got, bound)
