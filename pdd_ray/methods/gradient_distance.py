"""Distances between two gradients of one network: the metrics of DC, DSA, IDC and DREAM.

DC and DSA: specification of other methods, section 1.1; IDC and DREAM: section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

EPSILON = 1e-6
"""Added to products of norms; small gradients feel it."""

Metric = Literal["mse", "l1", "l1_mean", "cos", "overall_cos"]
"""``mse``: squared differences, summed; ``l1``: absolute differences, summed; ``l1_mean``: their
mean per row, summed over rows; ``cos``: one minus the cosine of each row, summed over rows;
``overall_cos``: one minus the cosine of everything concatenated. A row is what belongs to one
output: one index of a tensor's first dimension."""


@dataclass(frozen=True)
class GradientDistance:
    """A distance of gradients, and the parameters whose gradients it looks at.

    Attributes:
        metric: The distance.
        vectors: Look at parameters of one dimension: biases, scales and shifts of norms.
        matrices: Look at parameters of two dimensions: the linear classifier.
    """

    metric: Metric
    vectors: bool = False
    matrices: bool = False

    def looks_at(self, dimensions: int) -> bool:
        """Return whether it looks at parameters of so many ``dimensions``."""
        return {1: self.vectors, 2: self.matrices}.get(dimensions, True)

    def __call__(self, gradients: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Return the distance [], differentiable in ``gradients``, also where they are zero.

        Args:
            gradients: Of the synthetic images, one tensor per parameter.
            targets: Of the real images, with the same shapes.
        """
        first, second = (
            [_rows(value) for value in side if self.looks_at(value.dim())]
            for side in (gradients, targets)
        )
        if self.metric == "overall_cos":
            first, second = (
                [torch.cat([rows.reshape(1, -1) for rows in side], dim=1)]
                for side in (first, second)
            )
        between = _BETWEEN[self.metric]
        return torch.stack([between(*pair) for pair in zip(first, second, strict=True)]).sum()


def dc_distance(name: Literal["layerwise", "mse", "cosine"]) -> GradientDistance:
    """Return the distance ``name`` of DC.

    ``layerwise``: one minus the cosine of each output's row, without vectors; ``mse``: squared
    differences of everything; ``cosine``: one minus the cosine of everything.
    """
    if name == "layerwise":
        return GradientDistance("cos", matrices=True)
    metric: Metric = "mse" if name == "mse" else "overall_cos"
    return GradientDistance(metric, vectors=True, matrices=True)


def idc_distance(
    metric: Literal["mse", "l1", "l1_mean", "cos"], *, bias: bool = False, fc: bool = False
) -> GradientDistance:
    """Return the distance ``metric`` of IDC: of the kernels of convolutions only.

    Args:
        metric: The distance.
        bias: Look at biases, scales and shifts too.
        fc: Look at the classifier's matrix too.
    """
    return GradientDistance(metric, vectors=bias, matrices=fc)


def _rows(value: Tensor) -> Tensor:
    return value.reshape(len(value), -1)


def _squares(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().sum()


def _absolutes(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).abs().sum()


def _mean_absolutes(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).abs().mean(dim=1).sum()


def _row_cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return one minus the cosine, summed over rows.

    Rows of zeros occur; the derivative of their norm is 0 here, where a plain square root has
    none (specification of other methods, section 15).
    """
    norms = first.norm(dim=1) * second.norm(dim=1)
    total: Tensor = (1 - (first * second).sum(dim=1) / (norms + EPSILON)).sum()
    return total


_BETWEEN: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "mse": _squares,
    "l1": _absolutes,
    "l1_mean": _mean_absolutes,
    "cos": _row_cosines,
    "overall_cos": _row_cosines,
}
