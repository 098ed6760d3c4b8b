"""Comparison of tensors within the tolerances that the vectors state."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tests.conformance.reading import Vector, hash_values

ROUNDING = 1e-6
"""Tolerance of values stored in float32, relative to the largest (conventions)."""


@dataclass(frozen=True)
class Bound:
    """``absolute + relative * magnitude``.

    The magnitude is that of each value, or of ``largest`` value if that is given.
    """

    relative: float = 0.0
    absolute: float = 0.0
    largest: Tensor | None = None

    def allowed(self, expected: Tensor) -> Tensor:
        magnitude = expected.abs() if self.largest is None else self.largest.double()
        return self.absolute + self.relative * magnitude


def assert_close(name: str, got: Tensor, expected: Tensor, bound: Bound) -> None:
    assert got.shape == expected.shape, f"{name}: {tuple(got.shape)} != {tuple(expected.shape)}"
    error = (got.detach().double() - expected.double()).abs()
    excess = error - bound.allowed(expected.double())
    assert bool((excess <= 0).all()), f"{name}: largest error {float(error.max()):.3g}, {bound}"


def digest(value: Tensor) -> Tensor:
    """Return l2 norm, sum, dot product with the hash vector, by the rule `digest`."""
    flat = value.detach().double().reshape(-1)
    weights = torch.from_numpy(2 * hash_values(7, 0, flat.numel()) - 1)
    return torch.stack([flat.norm(), flat.sum(), flat @ weights])


def assert_digest(
    name: str, got: Tensor, expected: Tensor, relative: float, norm: Tensor | None = None
) -> None:
    """Compare the digest of ``got`` with ``expected`` [3]; ``norm`` replaces its l2 norm."""
    scale = float(expected[0] if norm is None else norm)
    allowed = relative * scale * torch.tensor([1.0, got.numel() ** 0.5, got.numel() ** 0.5])
    error = (digest(got) - expected).abs()
    assert bool((error <= allowed).all()), f"{name}: digest error {error}, allowed {allowed}"


def largest(expected: Tensor, relative: float) -> Bound:
    """Return the bound relative to the largest magnitude of ``expected``."""
    return Bound(relative, largest=expected.abs().max())


def assert_output(vector: Vector, name: str, got: Tensor, bound: Bound) -> None:
    """Compare ``got`` with the output ``name``, which may be stored rounded to float32."""
    expected = vector.expected(name)
    if name not in vector.rounded or vector.dtype != torch.float64:
        assert_close(name, got, expected, bound)
        return
    assert_close(name, got, expected, largest(expected, ROUNDING))
    head = vector.expected(f"{name}@head")
    assert_close(f"{name}@head", got.reshape(-1)[: len(head)], head, bound)
    assert_digest(f"{name}@digest", got, vector.expected(f"{name}@digest"), bound.relative)
