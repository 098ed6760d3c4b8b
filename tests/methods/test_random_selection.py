"""Random selection: real images of each class, others in every stage."""

import pytest
import torch

from pdd_ray.errors import ConfigError
from pdd_ray.methods.base import Partial
from pdd_ray.selection.random import RandomSelection
from pdd_ray.specs.methods import RandomSelectionSpec
from tests.tiny import Silent, dataset, stage_inputs


def select(inputs, folder):
    return RandomSelection(RandomSelectionSpec(step_size=0.02)).distill(
        inputs, Partial(folder), Silent()
    )


def union_after(sizes, folder, seed=0):
    union = stage_inputs([]).previous
    for per_class in sizes:
        inputs = stage_inputs([], previous=union, images_per_class=per_class, seed=seed)
        outcome = select(inputs, folder)
        union = union.extend(outcome.images, outcome.labels, outcome.images, outcome.step_size)
    return union


def rows_of(images):
    train = dataset().train_images
    return [int((train == image).flatten(1).all(1).nonzero()) for image in images]


def test_images_are_real_and_class_by_class(tmp_path):
    outcome = select(stage_inputs([], images_per_class=2), tmp_path)
    assert outcome.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset().train_labels[rows_of(outcome.images)].tolist() == outcome.labels.tolist()
    assert outcome.step_size == 0.02


def test_later_stages_take_other_images_until_there_are_none(tmp_path):
    union = union_after([3, 2, 5], tmp_path)
    assert sorted(rows_of(union.images)) == list(range(30))
    with pytest.raises(ConfigError, match="11 are needed"):
        union_after([3, 2, 6], tmp_path)


def test_a_longer_selection_begins_like_a_shorter_one(tmp_path):
    long, short = union_after([2, 3], tmp_path), union_after([2], tmp_path)
    assert torch.equal(long.up_to(1).images, short.images)


def test_seeds_select_differently(tmp_path):
    one, other = (union_after([3], tmp_path, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.images, other.images)
    assert torch.equal(one.images, union_after([3], tmp_path).images)
