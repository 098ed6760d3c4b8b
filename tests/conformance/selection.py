"""Checks of selections: herding, K-Center, forgetting scores, DREAM's representative rows."""

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from pdd_ray.core.seeding import generator
from pdd_ray.methods.coresets.herding import herding
from pdd_ray.methods.coresets.k_center import k_center
from pdd_ray.methods.coresets.representative import nearest_rows, nearest_to_any, representative
from pdd_ray.training.difficulty import in_window
from pdd_ray.training.forgetting import ForgettingCounter
from tests.conformance.closeness import Bound, assert_close
from tests.conformance.reading import Vector

MOVED = 1e-4
"""Sum of squared centre movements at which the reference stops."""


def check_coreset(vector: Vector) -> None:
    count = vector.values["n"]
    for dtype in (torch.float64, torch.float32):
        features = vector["features"].to(dtype)
        for label in range(vector.values["classes"]):
            members = (vector["labels"] == label).nonzero().flatten()
            for name, select in (("herding", herding), ("kcenter", k_center)):
                picked = members[select(features[members], count)]
                assert torch.equal(picked, vector[name][label]), (name, label, dtype)


def check_forgetting(vector: Vector) -> None:
    epochs, examples = vector.values["epochs"], vector.values["examples"]
    total = torch.zeros(examples, dtype=torch.int64)
    for run in range(vector.values["runs"]):
        counter = ForgettingCounter(examples)
        for epoch, correct in enumerate(vector[f"run{run}.correct"].bool()):
            for batch in torch.randperm(examples, generator=generator(run, epoch)).split(7):
                counter.observe(batch, correct[batch])
        for name in ("events", "first_learned", "needed_to_learn"):
            assert torch.equal(getattr(counter, name), vector[f"run{run}.{name}"]), name
        total += counter.scores(epochs)
    assert torch.equal(total, vector["score"])
    assert torch.equal(total.sort().values, vector["sorted_counts"])
    assert torch.equal(total[vector["sorted_indices"]], vector["sorted_counts"])
    labels = torch.zeros(examples, dtype=torch.int64)
    for low in (0, 3, 6):
        window = in_window(total, labels, low, low + 3, 1, 1)
        assert torch.equal(window.indices, vector[f"stage_{low}_{low + 3}"])
        assert (window.filled, window.share) == ({}, 1.0)


def check_dream_selection(vector: Vector) -> None:
    features, pair = vector["features"], vector["two_clusters"]
    _check_rows(vector, "nearest", nearest_rows(features, vector["centres"]).flatten())
    good, bad = (_check_centres(vector, name) for name in ("good", "bad"))
    _check_rows(vector, "query_good", nearest_rows(features, good).flatten())
    _check_rows(vector, "query_bad", nearest_rows(features, bad).flatten())
    sub, count = vector.values["sub"], vector.values["k"]
    _check_rows(vector, "query_match_good", nearest_rows(features, good, sub))
    _check_rows(vector, "query_tiny_good", nearest_to_any(features, good, count))
    for seed in range(5):
        for dtype in (torch.float64, torch.float32):
            rows = representative(pair.to(dtype), 2, generator(seed))
            _check_rows(vector, "two_clusters_query", rows.sort().values)
    duplicate = _lloyd(pair, torch.tensor([3, 3]))
    _assert_centres(vector, "centres_duplicate", duplicate)
    _check_rows(vector, "query_duplicate", nearest_rows(pair, duplicate).flatten())


def _check_rows(vector: Vector, name: str, rows: Tensor) -> None:
    assert torch.equal(rows, vector[name]), (name, rows)


def _assert_centres(vector: Vector, name: str, centres: Tensor) -> None:
    relative = vector.entry["tolerance"]["centres"]["rtol"]
    assert_close(name, centres, vector.expected(name), Bound(relative))


def _check_centres(vector: Vector, name: str) -> Tensor:
    """Return scikit-learn's centres from the listed starts; Lloyd's rule gives the same ones."""
    features, starts = vector["features"], vector[f"init_{name}"]
    estimator = KMeans(len(starts), init=features[starts].numpy(), n_init=1, max_iter=100)
    centres = torch.from_numpy(np.asarray(estimator.fit(features.numpy()).cluster_centers_))
    for found in (centres, _lloyd(features, starts)):
        _assert_centres(vector, f"centres_{name}", found)
    return centres


def _lloyd(features: Tensor, starts: Tensor) -> Tensor:
    """Return the reference's centres: an empty cluster gets the zero vector, unlike the package's.

    Slow twin by the vector's formula.
    """
    centres = features[starts]
    for _ in range(100):
        labels = (features[:, None] - centres).square().sum(2).argmin(1)
        before, centres = centres, torch.zeros_like(centres)
        for cluster in labels.unique():
            centres[cluster] = features[labels == cluster].mean(0)
        if (centres - before).square().sum() <= MOVED:
            break
    return centres
