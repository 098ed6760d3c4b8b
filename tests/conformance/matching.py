"""Checks of trajectory matching: loss, exact and TESLA's gradients, outer updates."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdd_ray.methods.trajectory_loss import (
    Gradient,
    InnerFunctions,
    InnerStep,
    MatchingGradient,
    Segment,
    Union,
    matching_gradient,
    momentum_update,
)
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.augmentation.dsa import Draw
from tests.conformance.closeness import assert_digest, assert_output, largest
from tests.conformance.reading import Vector

TESLA_LITERAL = 0.5
"""The reference's pixel gradient is half of the paper's formula, which ours follows."""
FLOAT32_GROUPS = {
    "grad_images": "grad_images",
    "grad_new": "grad_images",
    "tesla_images": "grad_images",
}


@dataclass
class Progress:
    """What outer updates change, with the momentum buffers; ``frozen`` images stay."""

    images: Tensor
    step_size: Tensor
    frozen: Tensor | None
    images_buffer: Tensor | None = None
    step_size_buffer: Tensor | None = None

    def update(self, vector: Vector, images: Tensor, step_size: Tensor) -> None:
        values = vector.values
        momentum = values["momentum"]
        self.images, self.images_buffer = momentum_update(
            self.images, images, self.images_buffer, values["lr_img"], momentum
        )
        self.step_size, self.step_size_buffer = momentum_update(
            self.step_size, step_size, self.step_size_buffer, values["lr_alpha"], momentum
        )

    def union(self) -> Tensor:
        return self.images if self.frozen is None else torch.cat([self.frozen, self.images])


def check_matching(vector: Vector) -> None:
    """Check one or several outer iterations with exact gradients, computed in two ways.

    In float64 both have to agree. In float32 one of them has to: a ReLU input within rounding of
    zero may fall on the other side in one order of operations, which changes the gradient by far
    more than rounding (step 19 of a reference vector has an input of 3e-7).
    """
    if vector.dtype == torch.float64:
        _check_iterations(vector, "exact")
        _check_iterations(vector, "unrolled")
        return
    try:
        _check_iterations(vector, "exact")
    except AssertionError:
        _check_iterations(vector, "unrolled")


def _check_iterations(vector: Vector, gradient: Gradient) -> None:
    progress = _first(vector)
    for suffix in _iterations(vector):
        steps = _steps(vector, suffix)
        result = _gradient(vector, progress, steps, gradient)
        _check_result(vector, suffix, result)
        _check_frozen_gradient(vector, suffix, progress, steps)
        progress.update(vector, result.images, result.step_size)
        _check_update(vector, suffix, progress)


def check_tesla(vector: Vector) -> None:
    progress = _first(vector)
    result = _gradient(vector, progress, _steps(vector, ""), "tesla")
    images = TESLA_LITERAL * result.images
    _check(vector, "step_ce", result.step_losses)
    _check(vector, "grad_alpha", result.step_size)
    _check(vector, "tesla_images", images)
    progress.update(vector, images, result.step_size)
    _check_update(vector, "", progress)


def _iterations(vector: Vector) -> list[str]:
    """Return the suffixes of names by outer iteration; one without suffix if there is one only."""
    if vector.has("chunks"):
        return [""]
    count = sum(name.startswith("chunks.iter") for name in vector.tensors)
    return [f".iter{index}" for index in range(count)]


def _first(vector: Vector) -> Progress:
    old = vector.values["old_images"]
    images = vector["images"]
    return Progress(images[old:], vector["alpha"], images[:old] if old else None)


def _network(vector: Vector, images: Tensor) -> FlatModel:
    spec = ConvNetSpec(width=vector.values["width"], depth=vector.values["depth"])
    shape = (images.shape[1], images.shape[2], images.shape[3])
    model = create_model(spec, shape, vector.values["classes"], torch.Generator())
    network = FlatModel(model)
    assert list(network.names) == vector.values["param_names"]
    assert [list(item) for item in network.shapes] == vector.values["param_shapes"]
    return network


def _steps(vector: Vector, suffix: str) -> list[InnerStep]:
    draws: Any = vector.values.get("augmentation", [])
    if draws and isinstance(draws[0], list):
        draws = draws[int(suffix.removeprefix(".iter") or 0)]
    by_step = {item["step"]: item for item in draws}
    steps = []
    for number, row in enumerate(vector[f"chunks{suffix}"]):
        item = by_step.get(number)
        indices = row[row >= 0]
        where = f"step{number}{suffix}"
        draw = item and Draw(
            item["op"],
            {name: vector[f"{where}.{name}"][: len(indices)] for name in item["draws"]},
        )
        steps.append(InnerStep(indices, draw))
    return steps


def _gradient(
    vector: Vector, progress: Progress, steps: list[InnerStep], gradient: Gradient
) -> MatchingGradient:
    return matching_gradient(
        InnerFunctions(_network(vector, progress.images)),
        Union(progress.images, vector["labels"], progress.frozen),
        progress.step_size,
        Segment(vector["theta_start"], vector["theta_target"]),
        steps,
        gradient,
    )


def _check_result(vector: Vector, suffix: str, result: MatchingGradient) -> None:
    segment = Segment(vector["theta_start"], vector["theta_target"])
    images = "grad_images" if vector.has(f"grad_images{suffix}") else "grad_new"
    outputs = {
        "theta_T": result.student,
        "num": (result.student - segment.target).square().sum(),
        "den": segment.distance(),
        "loss": result.loss,
        "step_ce": result.step_losses,
        images: result.images,
        "grad_alpha": result.step_size,
    }
    for name, value in outputs.items():
        _check(vector, f"{name}{suffix}", value)


def _check(vector: Vector, name: str, got: Tensor) -> None:
    """Compare an output for which the vector states a tolerance in this precision."""
    group = name.split(".")[0]
    if vector.dtype == torch.float64:
        relative = vector.tolerance["rtol_of_largest"]
    else:
        relative = vector.tolerance.get(FLOAT32_GROUPS.get(group, group))
    if relative is not None:
        assert_output(vector, name, got, largest(vector.expected(name), relative))


def _check_frozen_gradient(
    vector: Vector, suffix: str, progress: Progress, steps: list[InnerStep]
) -> None:
    """Check what the gradient of the frozen images would be if they were not frozen."""
    name = f"grad_old_unmasked_digest{suffix}"
    if vector.dtype == torch.float64 and vector.has(name):
        free = Progress(progress.union(), progress.step_size, None)
        result = _gradient(vector, free, steps, "exact")
        old = result.images[: vector.values["old_images"]]
        assert_digest(name, old, vector.expected(name), vector.tolerance["rtol_of_largest"])


def _check_update(vector: Vector, suffix: str, progress: Progress) -> None:
    if vector.dtype == torch.float64:
        _check(vector, f"alpha_after{suffix}", progress.step_size)
        name = f"images_after_digest{suffix}"
        relative = vector.tolerance["rtol_of_largest"]
        assert_digest(name, progress.union(), vector.expected(name), relative)
    if vector.has(f"images_old_unchanged{suffix}"):
        old = vector.values["old_images"]
        assert int(vector[f"images_old_unchanged{suffix}"]) == 1
        assert torch.equal(progress.union()[:old], vector["images"][:old])
