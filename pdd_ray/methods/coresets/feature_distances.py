"""Means of feature vectors and distances between them, in float64, for coreset selection."""

from __future__ import annotations

import torch
from torch import Tensor

from pdd_ray.core.errors import ConfigError

ROWS = 256
"""Rows that are converted to float64 at once."""


def checked(features: Tensor, needed: int) -> Tensor:
    """Return ``features`` [N, D] if there are at least ``needed`` rows, all of them finite.

    The errors speak of one class without knowing its name.

    Raises:
        ConfigError: if there are fewer rows, or if a value is not finite.
    """
    if needed > len(features):
        msg = f"{needed} examples are needed, there are {len(features)}; ask for fewer"
        raise ConfigError(msg)
    broken = len(features) - int(features.isfinite().all(1).sum())
    if broken:
        msg = (
            f"the features of {broken} of {len(features)} examples are not finite; train the "
            "network that gives them with a lower learning rate"
        )
        raise ConfigError(msg)
    return features


def mean_of(features: Tensor) -> Tensor:
    """Return the mean of the rows of ``features`` [N, D]: float64 [D]."""
    total = torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
    for rows in features.split(ROWS):
        total += rows.double().sum(0)
    return total / len(features)


def distances(features: Tensor, points: Tensor) -> Tensor:
    """Return the Euclidean distance of each row to each point: float64 [N, K].

    Sums squared differences in float64, each pair by itself: equal rows are equally far, and
    rounding does not depend on the number of threads. Needs no [N, K, D] and no second copy of
    the features.

    Args:
        features: [N, D].
        points: [K, D].
    """
    targets = points.double()
    return torch.cat(
        [
            torch.cdist(rows.double(), targets, compute_mode="donot_use_mm_for_euclid_dist")
            for rows in features.split(ROWS)
        ]
    )
