"""DREAM's representative rows: nearest to centres, repeatable, and where there is too little."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from pdd_ray.core.errors import ConfigError
from pdd_ray.core.seeding import generator
from pdd_ray.methods.coresets.representative import (
    CENTRES,
    k_means,
    nearest_rows,
    nearest_to_any,
    representative,
)

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def random_rows(rows, width=6, seed=0):
    return torch.randn(rows, width, generator=generator(seed, "rows"), dtype=torch.float64)


def clustered(clusters=6, rows=60):
    """Rows in clusters that are far apart: features and the cluster of each row."""
    member = torch.arange(rows) % clusters
    return 100 * torch.eye(clusters, dtype=torch.float64)[member] + random_rows(rows), member


def slow_nearest(features, centres):
    """Return all rows of each centre, nearest first: a list for each centre."""
    squares = [[float(((row - centre) ** 2).sum()) for row in features] for centre in centres]
    return [sorted(range(len(features)), key=of.__getitem__) for of in squares]


def test_nearest_rows_are_those_of_the_slow_twin():
    features, centres = random_rows(40), random_rows(CENTRES + 3, seed=1)
    slow = slow_nearest(features, centres)
    assert nearest_rows(features, centres, 4).tolist() == [rows[:4] for rows in slow]
    assert nearest_rows(features, centres).flatten().tolist() == [rows[0] for rows in slow]


def test_nearest_to_any_are_those_of_the_slow_twin():
    features, centres = random_rows(40), random_rows(CENTRES + 3, seed=1)
    squares = (features[:, None] - centres).square().sum(2).amin(1).tolist()
    expected = sorted(range(40), key=squares.__getitem__)
    assert nearest_to_any(features, centres, 12).tolist() == expected[:12]


def test_ties_go_to_the_first_row():
    features = torch.tensor([[3.0], [1.0], [-1.0], [1.0], [-3.0]])
    assert nearest_rows(features, torch.zeros(1, 1), 5).tolist() == [[1, 2, 3, 0, 4]]
    assert nearest_to_any(features, torch.zeros(1, 1), 4).tolist() == [1, 2, 3, 0]


def test_a_row_may_be_nearest_to_several_centres():
    features = torch.tensor([[0.0], [10.0]])
    centres = torch.tensor([[1.0], [-1.0], [9.0]])
    assert nearest_rows(features, centres).tolist() == [[0], [0], [1]]
    assert nearest_to_any(features, centres, 2).tolist() == [0, 1]


@DTYPES
@pytest.mark.parametrize("per_cluster", [1, 2, 5])
def test_every_cluster_gives_its_share_next_to_its_mean(dtype, per_cluster):
    features, member = clustered()
    rows = representative(features.to(dtype), 6 * per_cluster, generator(0), per_cluster)
    assert rows.dtype == torch.int64
    groups = rows.view(6, per_cluster)
    assert sorted(member[groups[:, 0]].tolist()) == list(range(6))
    means = torch.stack([features[member == member[group[0]]].mean(0) for group in groups])
    assert groups.tolist() == [of[:per_cluster] for of in slow_nearest(features, means)]


def test_centres_are_the_means_of_their_clusters():
    features = random_rows(200)
    centres = k_means(features, 8, generator(0))
    labels = (features[:, None] - centres).square().sum(2).argmin(1)
    means = torch.stack([features[labels == label].mean(0) for label in range(8)])
    torch.testing.assert_close(centres, means, rtol=0, atol=0.05)


@DTYPES
def test_centres_have_the_dtype_of_the_features(dtype):
    assert k_means(random_rows(9).to(dtype), 2, generator(0)).dtype == dtype


def test_the_generator_decides_and_moves_on():
    features = random_rows(100)
    source = generator(0)
    first, second = (representative(features, 10, source) for _ in range(2))
    assert torch.equal(first, representative(features, 10, generator(0)))
    assert not torch.equal(first, second)


def test_the_global_random_numbers_are_not_touched():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    representative(random_rows(50), 5, generator(0))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_centres_do_not_depend_on_the_number_of_threads():
    features = random_rows(3000, width=40).float()
    with threadpool_limits(1):
        alone = k_means(features, 30, generator(0))
    for threads in (2, 4):
        with threadpool_limits(threads):
            assert torch.equal(k_means(features, 30, generator(0)), alone)


@DTYPES
def test_fewer_different_rows_than_clusters_give_repeated_rows_without_a_warning(dtype):
    features = torch.tensor([[0.0, 1.0], [0.0, 1.0], [5.0, 5.0], [0.0, 1.0]], dtype=dtype)
    rows = representative(features, 4, generator(0))
    assert set(rows.tolist()) == {0, 2}


def test_as_many_clusters_as_rows_give_every_row():
    assert sorted(representative(random_rows(7), 7, generator(0)).tolist()) == list(range(7))


def test_gradients_are_not_needed_and_features_stay_as_they_are():
    features = random_rows(20)
    before = features.clone()
    rows = representative(features.requires_grad_(), 4, generator(0))
    assert torch.equal(rows, representative(before, 4, generator(0)))
    assert torch.equal(features.detach(), before)


@pytest.mark.parametrize(
    ("count", "per_cluster", "message"),
    [
        (6, 1, "6 examples are needed, there are 5"),
        (12, 2, "6 examples are needed, there are 5"),
        (6, 6, "6 examples are needed, there are 5"),
        (5, 2, "5 examples can't be 2 for each cluster"),
    ],
)
def test_too_few_rows_or_uneven_clusters_are_an_error(count, per_cluster, message):
    with pytest.raises(ConfigError, match=message):
        representative(random_rows(5), count, generator(0), per_cluster)


def test_features_that_are_not_finite_are_an_error():
    features = random_rows(5)
    features[2, 0] = torch.nan
    with pytest.raises(ConfigError, match="features of 1 of 5 examples are not finite"):
        representative(features, 2, generator(0))
