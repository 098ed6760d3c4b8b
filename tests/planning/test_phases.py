"""Phases of classes in continual learning."""

import numpy as np
import pytest

from pdd_ray.configuration.continual import ContinualSpec
from pdd_ray.core.errors import ConfigError
from pdd_ray.planning.phases import class_phases, divisors


def test_classes_are_permuted_as_numpy_s_global_generator_would():
    generator = np.random.RandomState(3)  # the legacy stream behind np.random.seed(3)
    expected = generator.permutation(100).reshape(5, 20).tolist()
    assert class_phases(100, ContinualSpec(phases=5), seed=3) == expected


def test_sorted_phases_have_the_same_classes_in_order():
    permuted = class_phases(20, ContinualSpec(phases=4), seed=1)
    ordered = class_phases(20, ContinualSpec(phases=4, order="sorted"), seed=1)
    assert ordered == [sorted(phase) for phase in permuted]


def test_as_is_is_the_order_of_the_data_set():
    assert class_phases(6, ContinualSpec(phases=3, order="as_is"), seed=1) == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


def test_a_refusal_says_what_is_possible():
    with pytest.raises(ConfigError, match=r"10 classes .* 3 phases .*can be 2, 5, 10"):
        class_phases(10, ContinualSpec(phases=3), seed=0)
    assert divisors(10) == [2, 5, 10]
