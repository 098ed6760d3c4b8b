"""Greedy k-center: the selection that leaves no example far from all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.methods.coresets.feature_distances import checked, distances, mean_of

if TYPE_CHECKING:
    from torch import Tensor


def k_center(features: Tensor, count: int) -> Tensor:
    """Return the rows that greedy K-Center picks, in the order of selection: int64 [count].

    The first is the row nearest to the mean; each further one is the row whose distance to the
    nearest picked row is largest (specification of other methods, section 8). Of rows that are
    equally far the first is picked, and none is picked twice. A longer selection begins like a
    shorter one.

    Args:
        features: Features of the examples of one class, [N, D].
        count: How many to pick, at most N.

    Raises:
        ConfigError: if there are fewer than ``count`` rows, or if a value is not finite.
    """
    mean = mean_of(checked(features, count))
    best = distances(features, mean[None])[:, 0].argmin()
    nearest = torch.full((len(features),), torch.inf, dtype=torch.float64, device=features.device)
    picked = torch.empty(count, dtype=torch.int64, device=features.device)
    for position in range(count):
        picked[position] = best
        nearest = nearest.minimum(distances(features, features[best][None])[:, 0])
        nearest[best] = -1  # behind the duplicates of picked rows, which are at 0
        best = nearest.argmax()
    return picked
