"""Splits: sizes, stratification, and that they never change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdd_ray.core.identities import digest
from pdd_ray.data.split import apportion, digits_split, validation_size, validation_split

labels_lists = st.lists(st.integers(0, 4), max_size=80).map(
    lambda extra: sorted([*range(5), *range(5)]) + extra
)
fractions = st.floats(0.001, 0.999)


@given(labels_lists, fractions, st.integers(0, 2**31))
def test_a_validation_split_is_a_partition_with_the_stated_size_of_each_class(
    labels: list[int], fraction: float, seed: int
) -> None:
    kept, held_out = validation_split(labels, 5, fraction, seed)
    assert sorted(kept + held_out) == list(range(len(labels)))
    assert kept == sorted(kept)
    assert held_out == sorted(held_out)
    for label in range(5):
        size = sum(labels[index] == label for index in held_out)
        assert size == validation_size(labels.count(label), fraction)
        assert 1 <= size < labels.count(label)


@given(labels_lists, fractions, st.integers(0, 2**31))
def test_the_same_seed_gives_the_same_split(labels: list[int], fraction: float, seed: int) -> None:
    assert validation_split(labels, 5, fraction, seed) == validation_split(
        labels, 5, fraction, seed
    )


def test_another_seed_gives_another_split() -> None:
    labels = [0, 1] * 50
    assert validation_split(labels, 2, 0.2, 0) != validation_split(labels, 2, 0.2, 1)


def test_each_image_is_held_out_about_equally_often() -> None:
    held_out = [0] * 20
    for seed in range(400):
        for index in validation_split([0] * 20, 1, 0.25, seed)[1]:
            held_out[index] += 1
    # binomial with mean 100 and deviation 8.7: five deviations
    assert all(56 < times < 144 for times in held_out)


def test_a_split_never_changes() -> None:
    labels = [index % 3 for index in range(30)]
    assert validation_split(labels, 3, 0.2, 7)[1] == [1, 4, 8, 12, 18, 20]


@pytest.mark.parametrize(
    ("count", "fraction", "size"),
    [(10, 0.25, 3), (10, 0.2, 2), (2, 0.01, 1), (2, 0.99, 1), (5000, 0.1, 500), (3, 0.99, 2)],
)
def test_validation_size_rounds_half_up_within_bounds(
    count: int, fraction: float, size: int
) -> None:
    assert validation_size(count, fraction) == size


def test_one_image_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="at least 2 images to be split, got 1"):
        validation_size(1, 0.5)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12), st.data())
def test_apportioned_shares_add_up_and_are_off_by_less_than_one(
    counts: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(0, sum(counts)))
    shares = apportion(total, counts)
    assert sum(shares) == total
    for share, count in zip(shares, counts, strict=True):
        assert abs(share - total * count / sum(counts)) < 1
        assert share <= count


def test_the_digits_split_takes_517_images_and_depends_on_labels_only() -> None:
    labels = [index % 10 for index in range(1797)]
    train, test = digits_split(labels)
    assert (len(train), len(test)) == (1280, 517)
    assert digest(test) == "78a2798e5dca4cc7d852c332a7529ea2"
