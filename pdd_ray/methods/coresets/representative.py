"""DREAM's selection: the examples nearest to the centres of a k-means clustering.

DREAM selects real images of a class by them (specification of other methods, section 7).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from pdd_ray.core.errors import ConfigError
from pdd_ray.methods.coresets.feature_distances import checked, distances

if TYPE_CHECKING:
    from torch import Tensor

CENTRES = 64
"""Centres whose distances to all rows are held at once."""


def representative(
    features: Tensor, count: int, source: torch.Generator, per_cluster: int = 1
) -> Tensor:
    """Return the rows nearest to the centres of ``count / per_cluster`` clusters: int64 [count].

    Cluster by cluster, nearest first. A row can be nearest to several centres and is then
    returned for each. The reference starts k-means at random rows, often misses clusters by that
    and can end with a centre at the origin; here it starts by k-means++ and keeps its clusters
    (specification of other methods, section 15, item 4). Rows are the same for any number of
    threads.

    Args:
        features: Features of the examples of one class, [N, D].
        count: How many rows to return, a multiple of ``per_cluster``.
        source: Decides the first centres.
        per_cluster: Rows per centre.

    Raises:
        ConfigError: if there are fewer rows than clusters or than ``per_cluster``, if ``count``
            is not a multiple of ``per_cluster``, or if a value is not finite.
    """
    clusters, rest = divmod(count, per_cluster)
    if rest:
        msg = f"{count} examples can't be {per_cluster} for each cluster; ask for a multiple"
        raise ConfigError(msg)
    centres = k_means(checked(features, max(clusters, per_cluster)), clusters, source)
    return nearest_rows(features, centres, per_cluster).flatten()


def k_means(features: Tensor, clusters: int, source: torch.Generator) -> Tensor:
    """Return the centres that Lloyd's algorithm finds from one k-means++ start: [K, D].

    At most 100 iterations. Where fewer than K rows are different, centres coincide.

    Args:
        features: [N, D] with N >= K.
        clusters: K.
        source: Gives one number, the seed of the start.
    """
    from sklearn.cluster import KMeans  # takes seconds to import
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    seed = int(torch.randint(2**31, (), generator=source))
    estimator = KMeans(clusters, n_init=1, max_iter=100, random_state=seed)
    # Threads would add up partial sums of the centres in the order in which they finish.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(features.detach().cpu().numpy())
    return torch.from_numpy(estimator.cluster_centers_).to(features)


def nearest_rows(features: Tensor, centres: Tensor, per_centre: int = 1) -> Tensor:
    """Return the nearest rows of each centre, nearest first: int64 [K, per_centre].

    Ties by index. DREAM's ``query`` with one row per centre, its ``query_match`` with several.

    Args:
        features: [N, D].
        centres: [K, D].
        per_centre: At most N.
    """
    parts = [
        distances(features, part).argsort(dim=0, stable=True)[:per_centre].T
        for part in centres.split(CENTRES)
    ]
    return torch.cat(parts)


def nearest_to_any(features: Tensor, centres: Tensor, count: int) -> Tensor:
    """Return the rows with the smallest distance to any centre, nearest first: int64 [count].

    Ties by index; all rows are different. DREAM's ``query_tiny``.

    Args:
        features: [N, D].
        centres: [K, D].
        count: At most N.
    """
    parts = [distances(features, part).amin(1) for part in centres.split(CENTRES)]
    return torch.stack(parts).amin(0).argsort(stable=True)[:count]
