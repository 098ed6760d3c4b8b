"""Herding and K-Center: against slow twins, at ties, and where there is too little."""

import pytest
import torch

from pdd_ray.core.errors import ConfigError
from pdd_ray.core.seeding import generator
from pdd_ray.methods.coresets.feature_distances import ROWS, distances, mean_of
from pdd_ray.methods.coresets.herding import herding
from pdd_ray.methods.coresets.k_center import k_center

SELECTIONS = pytest.mark.parametrize("select", [herding, k_center])


def random_features(rows, width=5, seed=0):
    return torch.randn(rows, width, generator=generator(seed, "features"), dtype=torch.float64)


def integer_features(rows, seed=0):
    """Features of few small integers: many ties, and no rounding where the mean is an integer."""
    half = torch.randint(-2, 3, (rows // 2, 2), generator=generator(seed, "integers"))
    features = torch.cat([half, -half]).double()
    return features[torch.randperm(rows, generator=generator(seed, "order"))]


def slow_herding(features, count):
    mean, picked = features.mean(0), []
    for number in range(1, count + 1):
        best = None
        for row in range(len(features)):
            if row in picked:
                continue
            mean_of_sum = number * mean - features[[*picked, row]].sum(0)
            missed = float((mean_of_sum**2).sum())
            if best is None or missed < best[0]:
                best = (missed, row)
        picked.append(best[1])
    return picked


def slow_k_center(features, count):
    squares = [float(((row - features.mean(0)) ** 2).sum()) for row in features]
    picked = [squares.index(min(squares))]
    while len(picked) < count:
        best = None
        for row in range(len(features)):
            if row in picked:
                continue
            nearest = min(float(((features[row] - features[i]) ** 2).sum()) for i in picked)
            if best is None or nearest > best[0]:
                best = (nearest, row)
        picked.append(best[1])
    return picked


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("select", "slow"), [(herding, slow_herding), (k_center, slow_k_center)])
class TestAgainstTheSlowTwin:
    def test_random_features(self, select, slow, seed):
        features = random_features(17, seed=seed)
        assert select(features, 17).tolist() == slow(features, 17)
        assert select(features.float(), 6).tolist() == slow(features, 6)

    def test_ties_go_to_the_first_row(self, select, slow, seed):
        features = integer_features(24, seed)
        assert select(features, 24).tolist() == slow(features, 24)
        assert select(features.float(), 24).tolist() == slow(features, 24)


@SELECTIONS
def test_rows_are_int64_and_all_different(select):
    rows = select(integer_features(40), 40)
    assert rows.dtype == torch.int64
    assert sorted(rows.tolist()) == list(range(40))


@SELECTIONS
def test_a_longer_selection_begins_like_a_shorter_one(select):
    features = random_features(30)
    assert select(features, 20)[:7].tolist() == select(features, 7).tolist()


@SELECTIONS
def test_equal_rows_are_picked_by_index(select):
    assert select(torch.ones(2 * ROWS + 3, 3), 5).tolist() == [0, 1, 2, 3, 4]


@SELECTIONS
def test_the_first_row_is_the_nearest_to_the_mean(select):
    features = random_features(3 * ROWS + 1)
    nearest = (features - features.mean(0)).norm(dim=1).argmin()
    assert int(select(features, 1)) == int(nearest)


@SELECTIONS
def test_features_far_from_the_origin_are_told_apart(select):
    features = random_features(12).float()
    far = features.double() + 2.0**22
    assert select(far, 8).tolist() == select(features, 8).tolist()


@SELECTIONS
def test_more_examples_than_there_are_is_an_error(select):
    with pytest.raises(ConfigError, match="6 examples are needed, there are 5"):
        select(random_features(5), 6)


@SELECTIONS
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_an_error(select, value):
    features = random_features(5)
    features[[1, 3], 2] = value
    with pytest.raises(ConfigError, match="features of 2 of 5 examples are not finite"):
        select(features, 2)


@SELECTIONS
def test_features_stay_as_they_are(select):
    features = random_features(9)
    before = features.clone()
    select(features, 5)
    assert torch.equal(features, before)


def test_herding_follows_the_mean_better_than_the_first_rows():
    features = random_features(200)
    mean = features.mean(0)
    picked = features[herding(features, 20)].mean(0)
    assert (picked - mean).norm() < (features[:20].mean(0) - mean).norm()


def test_k_center_reaches_every_cluster_first():
    centres = 100 * torch.eye(6, dtype=torch.float64)
    clusters = torch.arange(60) % 6
    rows = k_center(centres[clusters] + random_features(60, width=6), 6)
    assert sorted(clusters[rows].tolist()) == list(range(6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances_and_mean_are_those_of_float64(dtype):
    features, points = random_features(ROWS + 7).to(dtype), random_features(4, seed=1).to(dtype)
    expected = (features.double()[:, None] - points.double()).square().sum(2).sqrt()
    torch.testing.assert_close(distances(features, points), expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(mean_of(features), features.double().mean(0), rtol=0, atol=1e-15)


def test_distances_of_equal_rows_are_equal_wherever_they_stand():
    row = random_features(1, width=37)
    together = distances(row.repeat(3 * ROWS + 5, 1), random_features(3, width=37, seed=1))
    assert (together == together[0]).all()
