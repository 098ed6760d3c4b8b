"""Checks of augmentation: values and pixel gradients for given draws."""

import re
from typing import Any

import torch
from torch import Tensor

from pdd_ray.training.augmentation import dc, dsa
from pdd_ray.training.augmentation.cutmix import box_of, label_ratio
from pdd_ray.training.augmentation.rules import Augmentation, draw_augmentation
from tests.conformance.closeness import (
    ROUNDING,
    Bound,
    assert_close,
    assert_digest,
    assert_output,
    largest,
)
from tests.conformance.reading import Vector, hash_tensor

MATRICES = {"scale": dsa.scale_matrix, "rotate": dsa.rotation_matrix}


def check_dsa(vector: Vector) -> None:
    for case in vector.values["cases"]:
        stem = f"{case['op']}.{case['mode']}"
        draws = {name: vector[f"{stem}.{name}"] for name in case["draws"]}
        if case["mode"] == "siamese":
            draws = {name: value[:1] for name, value in draws.items()}
        operations = [case["op"]]
        if case["op"] == "allops":
            operations = vector.values["strategy"].split("_")
        _check_case(vector, stem, operations, draws)


def check_idc_augmentation(vector: Vector) -> None:
    for case in vector.values["cases"]:
        stem, sequence = case["name"], case["sequence"]
        draws = {
            name: vector[f"{stem}.{name}"] for name in sequence if not name.startswith("choose")
        }
        _check_case(vector, stem, _idc_operations(case, tuple(draws)), draws)


def _idc_operations(case: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return the operations that our rule applies when it draws what the case has drawn."""
    for seed in range(100):
        source = torch.Generator().manual_seed(seed)
        shared = case["batch_shared"]
        ours = draw_augmentation("idc", case["strategy"], 4, 32, 32, source, shared=shared)
        if tuple(name for draw in ours.draws for name in draw.values) == names:
            return [draw.operation for draw in ours.draws]
    message = f"{case['name']}: the rule never draws {names}"
    raise AssertionError(message)


def check_dc_augmentation(vector: Vector) -> None:
    images, samples = vector["x"], vector.values["samples"]
    output = Augmentation((dsa.Draw(dc.MIXTURE, _dc_values(samples)),)).apply(images)
    for sample in samples:
        if sample["op"] == "noise":
            i = sample["sample"]
            output[i] = images[i] + dc.NOISE_DEVIATION * vector[f"sample{i}.noise"]
    absolute = vector.tolerance["atol"]
    if vector.dtype == torch.float32:
        assert_close("out", output, vector.expected("out"), Bound(absolute=absolute))
        return
    # only an absolute tolerance is stated: for the digest it is that of the root mean square
    expected = vector.expected("out")
    digest, head = vector.expected("out@digest"), vector.expected("out@head")
    assert_close("out", output, expected, largest(expected, ROUNDING))
    assert_close("out@head", output.flatten()[: len(head)], head, Bound(absolute=absolute))
    assert_digest("out", output, digest, absolute / float(expected.square().mean().sqrt()))


def _dc_values(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    names = {
        "crop": ("start_rows", "start_cols"),
        "scale": ("factor_rows", "factor_cols"),
        "rotate": ("degrees",),
        "noise": (),
    }
    values = {
        name: torch.zeros(len(samples), dtype=torch.float64 if "factor" in name else torch.int64)
        for own in names.values()
        for name in own
    }
    values["noise_seed"] = torch.zeros(len(samples), dtype=torch.int64)
    for sample in samples:
        for name, number in zip(names[sample["op"]], sample["draws"], strict=True):
            values[name][sample["sample"]] = number
    values["operation"] = torch.tensor([dc.OPERATIONS.index(each["op"]) for each in samples])
    return values


def check_cutmix(vector: Vector) -> None:
    boxes, ratios = [], []
    for lam, (size, row, col) in zip(vector["lam"], vector["size_centre"].tolist(), strict=True):
        box = box_of(float(lam), row, col, size, size)
        boxes.append(box)
        ratios.append(label_ratio(box, size, size))
    assert torch.equal(torch.tensor(boxes), vector["box"])
    bound = Bound(vector.entry["tolerance"]["ratio"]["rtol"])
    assert_close("ratio", torch.tensor(ratios, dtype=torch.float64), vector["ratio"], bound)


def _check_case(vector: Vector, stem: str, operations: list[str], draws: dict[str, Tensor]) -> None:
    """Check the images after ``operations`` under both sampling conventions, and gradients."""
    bound = _bound(vector, operations)
    if vector.has(f"{stem}.matrix"):
        expected = vector.expected(f"{stem}.matrix")
        (operation,) = set(operations) & set(MATRICES)
        matrix = MATRICES[operation](draws).expand_as(expected)
        assert_close(f"{stem}.matrix", matrix, expected, bound)
    for suffix, align_corners in (("", True), ("_align_true", True), ("_align_false", False)):
        name = f"{stem}.out{suffix}"
        if vector.has(name):
            count = len(vector.expected(name))
            images = vector["x"][:count].requires_grad_()
            drawn = tuple(dsa.Draw(operation, draws) for operation in operations)
            output = Augmentation(drawn, align_corners).apply(images)
            assert_output(vector, name, output, bound)
            # images of kind idc_augmentation are square: one gradient for both conventions
            gradients = (f"{stem}.vjp_digest{suffix}", f"{stem}.vjp_digest")
            _check_gradient(vector, next(filter(vector.has, gradients), ""), images, output)


def _bound(vector: Vector, operations: list[str]) -> Bound:
    tolerance = vector.tolerance
    if vector.dtype == torch.float32 and set(operations) & set(MATRICES):
        stated = re.search(r"scale and rotate in float32: (\S+) absolute", tolerance["note"])
        if stated:
            return Bound(absolute=float(stated[1]))
    return Bound(tolerance["rtol"], tolerance["atol"])


def _check_gradient(vector: Vector, name: str, images: Tensor, output: Tensor) -> None:
    if not name:
        return
    cotangent = hash_tensor(9, 9, tuple(output.shape), -1.0, 1.0).to(vector.dtype)
    (gradient,) = torch.autograd.grad(output, images, cotangent)
    assert_digest(name, gradient, vector.expected(name), vector.tolerance["rtol"])
