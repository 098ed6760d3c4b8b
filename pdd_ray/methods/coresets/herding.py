"""Herding: the selection whose mean follows the mean of its class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.methods.coresets.feature_distances import checked, distances, mean_of

if TYPE_CHECKING:
    from torch import Tensor


def herding(features: Tensor, count: int) -> Tensor:
    """Return the rows that herding picks, in the order of selection: int64 [count].

    Pick k = 0, 1, .. is the row x not yet picked that minimises
    ``|| (k + 1) mean - (sum of the picked rows) - x ||`` (specification of other methods,
    section 8). Of rows that are equally good the first is picked. A longer selection begins
    like a shorter one.

    Args:
        features: Features of the examples of one class, [N, D].
        count: How many to pick, at most N.

    Raises:
        ConfigError: if there are fewer than ``count`` rows, or if a value is not finite.
    """
    mean = mean_of(checked(features, count))
    target = torch.zeros_like(mean)
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    picked = torch.empty(count, dtype=torch.int64, device=features.device)
    for position in range(count):
        target += mean
        missed = distances(features, target[None])[:, 0]
        best = missed.where(free, torch.inf).argmin()
        picked[position] = best
        free[best] = False
        target -= features[best]
    return picked
