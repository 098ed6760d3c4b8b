"""Windows of difficulty: what they hold, and how small classes are filled."""

import pytest
import torch

from pdd_ray.core.seeding import generator
from pdd_ray.training.difficulty import in_window


def slow_window(scores, labels, low, high, minimum, num_classes):
    indices, filled = [], {}
    for label in range(num_classes):
        members = [index for index, of in enumerate(labels) if of == label]
        inside = [index for index in members if low <= scores[index] < high]
        outside = sorted(
            set(members) - set(inside),
            key=lambda index: (max(low - scores[index], scores[index] - high), index),
        )
        more = outside[: max(0, max(minimum, 1) - len(inside))]
        indices += inside + more
        if more:
            filled[label] = len(more)
    return sorted(indices), filled


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("minimum", [0, 1, 6, 100])
def test_windows_are_those_of_the_slow_twin(seed, minimum):
    source = generator(seed, "scores")
    scores = torch.randint(0, 12, (60,), generator=source)
    labels = torch.randint(0, 5, (60,), generator=source)
    window = in_window(scores, labels, 3, 6, minimum, 6)
    indices, filled = slow_window(scores.tolist(), labels.tolist(), 3, 6, minimum, 6)
    assert window.indices.tolist() == indices
    assert window.indices.dtype == torch.int64
    assert window.filled == filled
    assert window.share == pytest.approx(1 - sum(filled.values()) / len(indices))


def test_windows_are_half_open_and_leave_nothing_out_twice():
    scores = torch.arange(9)
    labels = torch.zeros(9, dtype=torch.int64)
    windows = [in_window(scores, labels, low, low + 3, 1, 1).indices for low in (0, 3, 6)]
    assert torch.cat(windows).tolist() == list(range(9))


def test_a_class_without_examples_in_the_window_gets_the_nearest():
    scores = torch.tensor([4, 5, 0, 9, 7, 1])
    labels = torch.tensor([0, 0, 1, 1, 1, 1])
    window = in_window(scores, labels, 3, 6, 2, 2)
    assert window.indices.tolist() == [0, 1, 4, 5]
    assert window.filled == {1: 2}
    assert window.share == 0.5


def test_equally_near_examples_are_taken_by_index():
    scores = torch.tensor([8, 1, 8, 1, 4])
    window = in_window(scores, torch.zeros(5, dtype=torch.int64), 3, 6, 4, 1)
    assert window.indices.tolist() == [0, 1, 2, 4]


def test_a_class_smaller_than_the_minimum_is_used_whole():
    scores = torch.tensor([0, 50, 4])
    labels = torch.tensor([0, 0, 1])
    window = in_window(scores, labels, 3, 6, 10, 2)
    assert window.indices.tolist() == [0, 1, 2]
    assert window.filled == {0: 2}


def test_a_class_without_any_examples_is_left_empty():
    window = in_window(torch.tensor([4, 4]), torch.tensor([0, 2]), 3, 6, 1, 4)
    assert window.indices.tolist() == [0, 1]
    assert window.filled == {}


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_windows_without_an_upper_end_hold_all_that_is_harder(dtype):
    scores = torch.tensor([0, 3, 200, 2], dtype=dtype)
    window = in_window(scores, torch.tensor([0, 0, 0, 1]), 3, float("inf"), 1, 2)
    assert window.indices.tolist() == [1, 2, 3]
    assert window.filled == {1: 1}
