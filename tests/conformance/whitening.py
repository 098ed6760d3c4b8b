"""Checks of ZCA whitening: statistics, transformed images, inverse."""

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pdd_ray.data.pixels import Whitening, fit_whitening
from tests.conformance.closeness import Bound, assert_digest, assert_output
from tests.conformance.reading import Vector


def check_whitening(vector: Vector) -> None:
    train, test = (vector[name].to(vector.dtype) / 255 for name in ("train_u8", "test_u8"))
    whitening = _fit(vector.folder / vector.entry["file"], vector.values["eps"], vector.dtype)
    train_white, test_white = whitening.forward(train), whitening.forward(test)
    inverse = whitening.inverse(test_white)
    outputs = {
        "mean": whitening.mean,
        "train_white": train_white,
        "test_white": test_white,
        "test_inverse": inverse,
        "W_diag": whitening.matrix.diagonal(),
        "W_row0": whitening.matrix[0],
        "Winv_row0": whitening.inverse_matrix[0],
    }
    if vector.dtype == torch.float32:
        outputs |= {"train_white_f32": train_white, "test_white_f32": test_white}
    for name, value in outputs.items():
        _check(vector, name, value)
    if vector.dtype == torch.float64:
        digests = {
            "W_digest": whitening.matrix,
            "Winv_digest": whitening.inverse_matrix,
            "all_train_white_digest": train_white,
            "all_test_white_digest": test_white,
        }
        for name, value in digests.items():
            assert_digest(name, value, vector.expected(name), vector.tolerance["rtol"])


@cache
def _fit_in_double(file: Path, epsilon: float) -> Whitening:
    train = load_file(file)["train_u8"].double() / 255
    return fit_whitening(train, epsilon, dtype=torch.float64)


def _fit(file: Path, epsilon: float, dtype: torch.dtype) -> Whitening:
    """Return the statistics in ``dtype``; the slow eigendecomposition is made once, in float64."""
    exact = _fit_in_double(file, epsilon)
    tensors = (exact.mean, exact.matrix, exact.inverse_matrix)
    return Whitening(*(value.to(dtype) for value in tensors))


def _check(vector: Vector, name: str, got: Tensor) -> None:
    bound = Bound(vector.tolerance.get("rtol", 0.0), vector.tolerance["atol"])
    assert_output(vector, name, got[: len(vector.expected(name))], bound)
