"""Checks of differentiable augmentation: values and pixel gradients for given draws."""

import re
from typing import Any

import torch
from torch import Tensor

from pdd_ray.augment import dsa
from tests.conformance.closeness import Bound, assert_close, assert_digest, assert_output
from tests.conformance.reading import Vector, hash_tensor

MATRICES = {"scale": dsa.scale_matrix, "rotate": dsa.rotation_matrix}
SAMPLING = ("scale", "rotate", "allops")


def check_dsa(vector: Vector) -> None:
    for case in vector.values["cases"]:
        _check_case(vector, case)


def _check_case(vector: Vector, case: dict[str, Any]) -> None:
    stem = f"{case['op']}.{case['mode']}"
    draws = {name: vector[f"{stem}.{name}"] for name in case["draws"]}
    if case["op"] in MATRICES:
        bound = _bound(vector, case["op"])
        matrix = MATRICES[case["op"]](draws)
        if case["mode"] == "siamese":
            matrix = matrix[:1].expand_as(matrix)
        assert_close(f"{stem}.matrix", matrix, vector.expected(f"{stem}.matrix"), bound)
    for suffix, align_corners in (("", True), ("_align_true", True), ("_align_false", False)):
        name = f"{stem}.out{suffix}"
        if vector.has(name):
            count = len(vector.expected(name))
            images = vector["x"][:count].requires_grad_()
            output = _augment(vector, case, images, draws, align_corners)
            assert_output(vector, name, output, _bound(vector, case["op"]))
            _check_gradient(vector, f"{stem}.vjp_digest{suffix}", images, output)


def _augment(
    vector: Vector,
    case: dict[str, Any],
    images: Tensor,
    draws: dict[str, Tensor],
    align_corners: bool,
) -> Tensor:
    operations = [case["op"]]
    if case["op"] == "allops":
        operations = vector.values["strategy"].split("_")
    for operation in operations:
        images = dsa.apply(
            images,
            dsa.Draw(operation, draws),
            align_corners=align_corners,
            siamese=case["mode"] == "siamese",
        )
    return images


def _bound(vector: Vector, operation: str) -> Bound:
    tolerance = vector.tolerance
    if vector.dtype == torch.float32 and operation in SAMPLING:
        stated = re.search(r"scale and rotate in float32: (\S+) absolute", tolerance["note"])
        if stated:
            return Bound(absolute=float(stated[1]))
    return Bound(tolerance["rtol"], tolerance["atol"])


def _check_gradient(vector: Vector, name: str, images: Tensor, output: Tensor) -> None:
    if not vector.has(name):
        return
    cotangent = hash_tensor(9, 9, tuple(output.shape), -1.0, 1.0).to(vector.dtype)
    (gradient,) = torch.autograd.grad(output, images, cotangent)
    assert_digest(name, gradient, vector.expected(name), vector.tolerance["rtol"])
