"""Facts about means, spreads, intervals and paired differences."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pdd_analysis.statistics import (
    CONFIDENCE,
    estimate,
    holm,
    mean,
    paired_difference,
    standard_deviation,
    t_interval,
    t_test,
)

ACCURACIES = st.floats(min_value=0, max_value=1, allow_nan=False)
REPLICATES = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 3)), ACCURACIES, min_size=1, max_size=12
)


def test_the_standard_deviation_has_one_degree_of_freedom_less() -> None:
    values = [0.61, 0.64, 0.59, 0.66, 0.60]
    assert standard_deviation(values) == pytest.approx(float(np.std(values, ddof=1)), rel=1e-12)
    assert float(np.std(values, ddof=0)) / float(np.std(values, ddof=1)) == pytest.approx(
        math.sqrt(4 / 5)
    )


def test_one_value_has_no_spread_and_no_interval() -> None:
    result = estimate({(0, 0): 0.5})
    assert (result.mean, result.std, result.interval) == (0.5, None, None)
    assert (result.n, result.n_seeds) == (1, 1)


@given(st.lists(ACCURACIES, min_size=2, max_size=12))
def test_the_interval_is_that_of_scipy(values: list[float]) -> None:
    low, high = t_interval(values) or (0.0, 0.0)
    spread = float(np.std(values, ddof=1))
    if spread < 1e-9:
        assert low == pytest.approx(high, abs=1e-7)
        return
    expected = stats.t.interval(
        CONFIDENCE,
        df=len(values) - 1,
        loc=np.mean(values),
        scale=spread / np.sqrt(len(values)),
    )
    assert (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_paired_interval_is_that_of_scipy() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.normal(size=(2, 4, 5))
    as_values = [
        {(seed, network): float(values[seed, network]) for seed in range(4) for network in range(5)}
        for values in (first, second)
    ]
    difference = paired_difference(*as_values)
    expected = stats.ttest_rel(first.mean(axis=1), second.mean(axis=1)).confidence_interval(0.95)
    assert difference is not None
    assert difference.interval is not None
    assert (difference.interval.low, difference.interval.high) == pytest.approx(
        (expected.low, expected.high)
    )
    assert (difference.interval.unit, difference.interval.count, difference.n) == ("seeds", 4, 20)


def test_intervals_cover_independent_values_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(2000, 5))
    covered = sum(
        low <= 0 <= high for low, high in (t_interval(row) or (1, 1) for row in draws.tolist())
    )
    # the binomial standard error of a coverage of 0.95 in 2000 draws is 0.005
    assert covered / len(draws) == pytest.approx(0.95, abs=0.02)


def test_intervals_over_seeds_cover_where_intervals_over_all_networks_do_not() -> None:
    generator = np.random.default_rng(1)
    seeds, networks, draws = 4, 5, 1000
    honest = naive = 0
    for _ in range(draws):
        sets = generator.normal(scale=2.0, size=(seeds, 1))
        values = sets + generator.normal(scale=1.0, size=(seeds, networks))
        cell = {(s, n): float(values[s, n]) for s in range(seeds) for n in range(networks)}
        interval = estimate(cell).interval
        assert interval is not None
        honest += interval.low <= 0 <= interval.high
        low, high = t_interval(values.ravel().tolist()) or (1.0, 1.0)
        naive += low <= 0 <= high
    assert honest / draws == pytest.approx(0.95, abs=0.03)
    assert naive / draws < 0.75


def test_the_interval_says_what_was_repeated() -> None:
    one_set = estimate({(7, network): 0.5 + 0.01 * network for network in range(5)})
    several = estimate(
        {(seed, network): 0.5 + 0.01 * seed for seed in range(3) for network in (0, 1)}
    )
    assert one_set.interval is not None
    assert several.interval is not None
    assert (one_set.interval.unit, one_set.interval.count) == ("networks", 5)
    assert (several.interval.unit, several.interval.count) == ("seeds", 3)
    assert (several.n, several.n_seeds) == (6, 3)


def test_each_seed_counts_the_same_however_many_networks_it_has() -> None:
    assert estimate({(0, 0): 0.2, (1, 0): 0.8, (1, 1): 0.8}).mean == pytest.approx(0.5)


@given(REPLICATES, st.randoms())
def test_an_estimate_does_not_depend_on_the_order_of_its_values(
    values: dict[tuple[int, int], float], random: Random
) -> None:
    shuffled = list(values.items())
    random.shuffle(shuffled)
    assert estimate(dict(shuffled)) == estimate(values)


@given(REPLICATES, REPLICATES)
def test_differences_change_sign_when_their_sides_are_exchanged(
    first: dict[tuple[int, int], float], second: dict[tuple[int, int], float]
) -> None:
    there, back = paired_difference(first, second), paired_difference(second, first)
    if there is None or back is None:
        assert not first.keys() & second.keys()
        assert there is back
        return
    assert there.mean == pytest.approx(-back.mean, abs=1e-15)
    assert (there.n, there.n_seeds) == (len(first.keys() & second.keys()), back.n_seeds)


def test_pairing_removes_what_networks_share() -> None:
    common = {(0, 0): 0.1, (0, 1): 0.5, (0, 2): 0.9}
    better = {replicate: value + 0.01 for replicate, value in common.items()}
    difference = paired_difference(better, common)
    assert difference is not None
    assert difference.interval is not None
    assert difference.mean == pytest.approx(0.01)
    assert difference.interval.high - difference.interval.low < 1e-12
    assert difference.interval.unit == "networks"


def test_networks_that_one_side_lacks_are_left_out_of_a_difference() -> None:
    difference = paired_difference({(0, 0): 0.5, (0, 1): 0.0}, {(0, 0): 0.4, (1, 0): 0.9})
    assert difference is not None
    assert difference.mean == pytest.approx(0.1)
    assert difference.n == 1
    assert difference.interval is None


def test_the_mean_is_exact_where_a_running_sum_is_not() -> None:
    assert mean([1e16, 1.0, -1e16]) == pytest.approx(1 / 3)


@settings(deadline=None)  # scipy is slow where it is called first
@given(st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=2, max_size=10))
def test_the_p_value_is_that_of_scipy(values: list[float]) -> None:
    p = t_test(values)
    assert p is not None
    if float(np.std(values, ddof=1)) < 1e-9:
        assert p == (1.0 if mean(values) == 0 else pytest.approx(0.0, abs=1e-6))
        return
    assert p == pytest.approx(float(stats.ttest_1samp(values, 0.0).pvalue), rel=1e-6, abs=1e-12)


@settings(deadline=None)  # scipy is slow where it is called first
@given(st.lists(ACCURACIES, min_size=2, max_size=8), st.lists(ACCURACIES, min_size=2, max_size=8))
def test_p_is_below_one_in_twenty_exactly_where_the_interval_excludes_zero(
    first: list[float], second: list[float]
) -> None:
    values = [one - other for one, other in zip(first, second, strict=False)]
    interval, p = t_interval(values), t_test(values)
    assert interval is not None
    assert p is not None
    low, high = interval
    if min(abs(low), abs(high)) > 1e-9:
        assert (p < 1 - CONFIDENCE) == (not low <= 0 <= high)


@pytest.mark.parametrize(
    ("values", "p"), [([], None), ([0.3], None), ([0.0, 0.0], 1.0), ([0.25, 0.25, 0.25], 0.0)]
)
def test_p_values_of_degenerate_samples(values: list[float], p: float | None) -> None:
    assert t_test(values) == p


def slow_holm(p_values: list[float]) -> list[float]:
    """Return, for each hypothesis, the smallest level at which Holm's procedure rejects it."""

    def rejected(level: float) -> set[int]:
        found: set[int] = set()
        for index in sorted(range(len(p_values)), key=lambda i: p_values[i]):
            if p_values[index] * (len(p_values) - len(found)) > level:
                break
            found.add(index)
        return found

    levels = sorted({p * k for p in p_values for k in range(1, len(p_values) + 1)})
    smallest = [
        next((level for level in levels if index in rejected(level)), 1.0)
        for index in range(len(p_values))
    ]
    return [min(1.0, level) for level in smallest]


@given(st.lists(st.floats(0, 1), max_size=7))
def test_holm_gives_the_smallest_level_at_which_the_procedure_rejects(
    p_values: list[float],
) -> None:
    assert holm(p_values) == pytest.approx(slow_holm(p_values), abs=1e-12)


def test_holm_of_an_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_differences_are_tested_over_what_their_interval_is_over() -> None:
    first = {
        (seed, network): 0.5 + 0.1 * seed + 0.01 * network for seed in (0, 1) for network in (0, 1)
    }
    second = {replicate: 0.4 for replicate in first}
    difference = paired_difference(first, second)
    assert difference is not None
    assert difference.p == pytest.approx(t_test([0.105, 0.205]))
    one_seed = paired_difference({(0, 0): 0.5, (0, 1): 0.52}, second)
    assert one_seed is not None
    assert one_seed.p == pytest.approx(t_test([0.1, 0.12]))
    one_pair = paired_difference({(0, 0): 0.5}, second)
    assert one_pair is not None
    assert one_pair.p is None
