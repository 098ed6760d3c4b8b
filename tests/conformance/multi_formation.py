"""Checks of multi-formation: decoded images, their order and gradients, and mixed first images."""

from typing import Any

import torch
from torch import Tensor

from pdd_ray.data.multi_formation import (
    decode,
    decode_bound,
    decode_labels,
    decode_multi,
    mix_initial,
)
from tests.conformance.closeness import Bound, assert_output
from tests.conformance.reading import Vector, hash_tensor


def check_decode(vector: Vector) -> None:
    bound = Bound(vector.tolerance.get("rtol", 0.0), vector.tolerance["atol"])
    for case in vector.values["cases"]:
        name = case["name"]
        images = vector[f"{name}.x"].requires_grad_()
        decoded, labels = _decode(case, images, vector[f"{name}.y"])
        assert len(decoded) == case["decoded"]
        assert torch.equal(labels, vector[f"{name}.out_labels"])
        assert_output(vector, f"{name}.out", decoded, bound)
        cotangent = hash_tensor(9, 9, tuple(decoded.shape), -1.0, 1.0).to(vector.dtype)
        (gradient,) = torch.autograd.grad(decoded, images, cotangent)
        assert_output(vector, f"{name}.vjp", gradient, bound)


def _decode(case: dict[str, Any], images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    factor = case["factor"]
    if case["type"] == "multi":
        return decode_multi(images, labels, factor)
    if case["type"] == "bound":
        return decode_bound(images, labels, factor, case["bound"])
    return decode(images, factor), decode_labels(labels, factor)


def check_mix_initial(vector: Vector) -> None:
    for case in vector.values["cases"]:
        name = case["name"]
        mixed = [
            mix_initial(vector[f"{name}.real{label}"], case["factor"], case["n"])
            for label in (0, 1)
        ]
        assert torch.equal(torch.cat(mixed), vector[f"{name}.init"])
