"""Means, standard deviations, Student-t intervals and tests, differences paired by seed.

What counts as a repetition? A record has a ``seed`` and a ``network``. A seed stands for the whole
chain: experts, distilled set, evaluations. A network is one training on that seed's set. So the
networks of one seed are repetitions of the *training*, not of the *distillation*: they share a
distilled set, and their spread says nothing about what another distillation would have given.
Therefore

- ``n`` counts all networks, and the standard deviation is over all of them, as papers print it;
- intervals are over the means of the seeds as soon as there are two seeds;
- with one seed, intervals are over its networks, and say so (``unit == "networks"``): they hold
  for that one distilled set and no further.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONFIDENCE = 0.95
"""Level of every interval."""

Replicate: TypeAlias = tuple[int, int]
"""(seed, network) of one evaluation."""

Unit: TypeAlias = Literal["seeds", "networks"]
"""What an interval is over: the means of seeds, or the networks of one distilled set."""


@dataclass(frozen=True)
class Interval:
    """A two-sided Student-t interval at level ``CONFIDENCE``; not clipped to [0, 1].

    Attributes:
        low: Lower end.
        high: Upper end.
        unit: What was repeated.
        count: Number of repetitions; the degrees of freedom are one less.
    """

    low: float
    high: float
    unit: Unit
    count: int


@dataclass(frozen=True)
class Estimate:
    """The accuracy of one setting.

    Attributes:
        mean: Mean over seeds of the mean over each seed's networks. This is the mean of all
            networks if every seed has as many of them; if not, each seed counts the same.
        std: Standard deviation over all networks with ddof = 1; None for a single one.
        n: Number of networks, of all seeds together.
        n_seeds: Number of seeds, i.e. of distilled sets.
        interval: Interval of the mean; None if there is one repetition only.
    """

    mean: float
    std: float | None
    n: int
    n_seeds: int
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """The difference between two settings, paired.

    Attributes:
        mean: Mean difference, first minus second, each seed counting the same.
        n: Number of pairs of networks.
        n_seeds: Number of seeds that both settings have.
        interval: Interval of the mean difference; None if there is one pair only.
        p: Two-sided p value of the paired t test behind the interval; None where there is none.
    """

    mean: float
    n: int
    n_seeds: int
    interval: Interval | None
    p: float | None = None


def mean(values: Iterable[float]) -> float:
    """Return the arithmetic mean, independent of the order of ``values``.

    Raises:
        statistics.StatisticsError: if there are no values.
    """
    return statistics.fmean(values)


def standard_deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (ddof = 1), or None for fewer than two values.

    The reference code of MTT and PDD prints ddof = 0, which is 0.894 of this at five networks.
    """
    return statistics.stdev(values) if len(values) > 1 else None


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the Student-t interval of the mean of independent ``values``.

    mean +- t_{n-1, 0.975} * std / sqrt(n); None for fewer than two values.
    """
    spread = standard_deviation(values)
    if spread is None:
        return None
    half = _t_quantile(len(values) - 1) * spread / math.sqrt(len(values))
    centre = mean(values)
    return centre - half, centre + half


def t_test(values: Sequence[float]) -> float | None:
    """Return the two-sided p value of Student's t test that the mean of ``values`` is zero.

    None for fewer than two values. Without any spread it is 1 if all values are zero, else 0, the
    limits for a spread that vanishes.
    """
    spread = standard_deviation(values)
    if spread is None:
        return None
    centre = mean(values)
    if spread == 0.0:
        return 1.0 if centre == 0.0 else 0.0
    from scipy.special import stdtr  # a third of the import time of scipy.stats

    statistic = centre / (spread / math.sqrt(len(values)))
    return 2.0 * float(stdtr(len(values) - 1, -abs(statistic)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return ``p_values`` adjusted by Holm's step-down method, in the same order.

    max over j <= i of min(1, (m - j + 1) p_(j)) for the i-th smallest of m (S. Holm, A simple
    sequentially rejective multiple test procedure, 1979). Rejecting where the adjusted value is
    at most alpha keeps the probability of any false rejection at or below alpha, whatever the
    tests have to do with each other.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def estimate(values: Mapping[Replicate, float]) -> Estimate:
    """Return mean, spread and interval of ``values``, one per (seed, network).

    Raises:
        statistics.StatisticsError: if there are no values.
    """
    by_seed = _by_seed(values)
    return Estimate(
        mean=mean(map(mean, by_seed.values())),
        std=standard_deviation(list(values.values())),
        n=len(values),
        n_seeds=len(by_seed),
        interval=_interval(by_seed),
    )


def paired_difference(
    first: Mapping[Replicate, float], second: Mapping[Replicate, float]
) -> Difference | None:
    """Return the difference ``first - second``, or None if they have no evaluation in common.

    Networks are paired by (seed, network); those that only one side has are left out. The pairs
    are averaged within each seed; interval and p value are those of a paired t test over the seeds.
    With one seed they are over the pairs of that seed's networks: they then compare the two
    distilled sets at hand, not the two methods that made them.
    """
    shared = first.keys() & second.keys()
    if not shared:
        return None
    by_seed = _by_seed({pair: first[pair] - second[pair] for pair in shared})
    return Difference(
        mean=mean(map(mean, by_seed.values())),
        n=len(shared),
        n_seeds=len(by_seed),
        interval=_interval(by_seed),
        p=t_test(_repetitions(by_seed)[1]),
    )


def _by_seed(values: Mapping[Replicate, float]) -> dict[int, list[float]]:
    groups: dict[int, list[float]] = {}
    for seed, network in sorted(values):
        groups.setdefault(seed, []).append(values[seed, network])
    return groups


def _interval(by_seed: Mapping[int, Sequence[float]]) -> Interval | None:
    unit, repetitions = _repetitions(by_seed)
    ends = t_interval(repetitions)
    return None if ends is None else Interval(*ends, unit=unit, count=len(repetitions))


def _repetitions(by_seed: Mapping[int, Sequence[float]]) -> tuple[Unit, Sequence[float]]:
    groups = list(by_seed.values())
    return ("networks", groups[0]) if len(groups) == 1 else ("seeds", [mean(g) for g in groups])


@lru_cache
def _t_quantile(degrees_of_freedom: int) -> float:
    from scipy.special import stdtrit  # a third of the import time of scipy.stats

    return float(stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2))
