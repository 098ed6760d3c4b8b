"""Stratified splits that depend on the labels, a seed and a name, and on nothing else."""

from collections.abc import Sequence

from pdd_ray.core.seeding import derive_seed

DIGITS_TEST_SIZE = 517
"""Test images of digits, which has no official split: 1,280 of 1,797 remain for training."""
DIGITS_TEST_SEED = 0
"""Seed of the digits test split; a constant, so that every result has the same test images."""


def validation_size(count: int, fraction: float) -> int:
    """Return how many of ``count`` images of a class are held out for validation.

    ``fraction * count``, rounded half up, but at least 1 and never all.

    Raises:
        ValueError: if there are fewer than 2 images.
    """
    if count < 2:
        msg = f"a class needs at least 2 images to be split, got {count}"
        raise ValueError(msg)
    return min(max(int(fraction * count + 0.5), 1), count - 1)


def apportion(total: int, counts: Sequence[int]) -> tuple[int, ...]:
    """Return shares of ``total`` in proportion to ``counts`` (method of largest remainders).

    They add up to ``total``; among equal remainders the first class comes first.
    """
    everything = sum(counts)
    shares = [total * count // everything for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda i: -(total * counts[i] % everything))
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return tuple(shares)


def stratified_split(
    labels: Sequence[int], sizes: Sequence[int], seed: int, name: str
) -> tuple[list[int], list[int]]:
    """Return the indices kept and the indices held out, both ascending.

    ``sizes[c]`` images of class ``c`` are held out: those whose own stream ``(seed, name, index)``
    has the smallest seed. No generator is involved, so the split is the same with every version
    of every library.
    """
    members: list[list[int]] = [[] for _ in sizes]
    for index, label in enumerate(labels):
        members[label].append(index)
    held_out: set[int] = set()
    for indices, size in zip(members, sizes, strict=True):
        shuffled = sorted(indices, key=lambda index: derive_seed(seed, name, index))
        held_out.update(shuffled[:size])
    kept = [index for index in range(len(labels)) if index not in held_out]
    return kept, sorted(held_out)


def validation_split(
    labels: Sequence[int], num_classes: int, fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Return the indices of the train slice and of the validation slice of training images.

    Raises:
        ValueError: if a class has fewer than 2 images.
    """
    counts = [0] * num_classes
    for label in labels:
        counts[label] += 1
    sizes = [validation_size(count, fraction) for count in counts]
    return stratified_split(labels, sizes, seed, "validation")


def digits_split(labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the indices of the training images and of the test images of digits."""
    counts = [0] * 10
    for label in labels:
        counts[label] += 1
    sizes = apportion(DIGITS_TEST_SIZE, counts)
    return stratified_split(labels, sizes, DIGITS_TEST_SEED, "digits-test")
