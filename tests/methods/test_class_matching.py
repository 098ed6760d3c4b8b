"""The parts of a class's union: what is constant, what moves, and the weights of both."""

import pytest
import torch

from pdd_ray.methods.class_matching import union_parts

FROZEN = torch.tensor([1.0, 2.0, 4.0])[:, None, None, None]
NEW = torch.tensor([8.0, 16.0])[:, None, None, None]
ROWS = torch.tensor([4, 0, 1])


def weighted_sum(part):
    images, weights = part
    return float(weights @ images.flatten())


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("fixed_sizes", [True, False])
@pytest.mark.parametrize(("rows", "mean"), [(None, 31 / 5), (ROWS, 19 / 3)])
def test_the_sums_of_both_parts_are_the_mean_of_what_is_kept(together, fixed_sizes, rows, mean):
    parts = union_parts(FROZEN, NEW, rows, together=together, fixed_sizes=fixed_sizes)
    assert sum(map(weighted_sum, parts)) == pytest.approx(mean)


@pytest.mark.parametrize("fixed_sizes", [True, False])
def test_dropped_images_are_in_no_batch_that_goes_through_together(fixed_sizes):
    constant, variable = union_parts(FROZEN, NEW, ROWS, together=True, fixed_sizes=fixed_sizes)
    assert len(constant[0]) == len(constant[1]) == 0
    assert variable[0].flatten().tolist() == [16.0, 1.0, 2.0]


def test_frozen_images_are_constant_and_dropped_ones_left_out():
    constant, variable = union_parts(FROZEN, NEW, ROWS, together=False, fixed_sizes=False)
    assert constant[0].flatten().tolist() == [1.0, 2.0]
    assert variable[0].flatten().tolist() == [16.0]


def test_sizes_do_not_vary_with_the_subsample_if_that_is_wanted():
    constant, variable = union_parts(FROZEN, NEW, ROWS, together=False, fixed_sizes=True)
    assert constant[1].tolist() == pytest.approx([1 / 3, 1 / 3, 0.0])
    assert variable[1].tolist() == pytest.approx([0.0, 1 / 3])


def test_there_may_be_no_frozen_images():
    constant, variable = union_parts(FROZEN[:0], NEW, None, together=False, fixed_sizes=True)
    assert len(constant[0]) == 0
    assert weighted_sum(variable) == 12.0
