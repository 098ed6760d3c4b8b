"""Selections of real images: which ones are taken of each class."""

from dataclasses import replace

import pytest
import torch

from pdd_ray.configuration.methods.coresets import (
    ForgettingCoresetSpec,
    HerdingSpec,
    KCenterSpec,
    RandomCoresetSpec,
)
from pdd_ray.core.errors import ConfigError
from pdd_ray.methods.base import Partial
from pdd_ray.methods.coresets.herding import herding
from pdd_ray.methods.coresets.k_center import k_center
from pdd_ray.methods.stage import create_method
from pdd_ray.testing.tiny import CLASSES, PER_CLASS, Silent, dataset, features, scores, stage_inputs
from pdd_ray.training.forgetting import hardest

RANDOM = RandomCoresetSpec(step_size=0.02)
HERDING = HerdingSpec(step_size=0.02)
K_CENTER = KCenterSpec(step_size=0.02)
FORGETTING = ForgettingCoresetSpec(step_size=0.02)
ALL = [RANDOM, HERDING, K_CENTER, FORGETTING]
CHOSEN_BY = [(HERDING, herding, features), (K_CENTER, k_center, features),
             (FORGETTING, hardest, scores)]  # fmt: skip
of_every_selection = pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)


def select(spec, folder, count=2, **changes):
    values = {"images_per_class": count, "features": features(), "scores": scores(), **changes}
    return create_method(spec).distill(stage_inputs([], **values), Partial(folder), Silent())


def rows_of(images):
    """Return the positions of real images in the train slice."""
    train = dataset().train_images
    return [int((train == image).flatten(1).all(1).nonzero()) for image in images]


def with_two_bees():
    """Return the data set, its features and its scores with all but 2 images of 'bee' removed."""
    data = dataset()
    bees = (data.train_labels == 1).nonzero().flatten()
    kept = torch.tensor([row for row in range(len(data.train_labels)) if row not in bees[2:]])
    small = replace(
        data, train_images=data.train_images[kept], train_labels=data.train_labels[kept]
    )
    return {"dataset": small, "features": features()[kept], "scores": scores()[kept]}


@of_every_selection
@pytest.mark.parametrize("count", [1, 3, PER_CLASS])
def test_images_are_real_different_and_class_by_class(tmp_path, spec, count):
    outcome = select(spec, tmp_path, count)
    rows = rows_of(outcome.images)
    assert outcome.labels.tolist() == [c for c in range(len(CLASSES)) for _ in range(count)]
    assert dataset().train_labels[rows].tolist() == outcome.labels.tolist()
    assert len(set(rows)) == len(CLASSES) * count
    assert outcome.step_size == 0.02
    assert not outcome.curves


@pytest.mark.parametrize(("spec", "choose", "of"), CHOSEN_BY, ids=["herding", "k_center", "scores"])
def test_each_class_is_chosen_from_by_its_own_features_or_scores(tmp_path, spec, choose, of):
    labels, values = dataset().train_labels, of()
    expected = []
    for label in range(len(CLASSES)):
        members = (labels == label).nonzero().flatten()
        expected += members[choose(values[members], 4)].tolist()
    assert rows_of(select(spec, tmp_path, 4).images) == expected


def test_what_is_forgotten_most_often_is_chosen(tmp_path):
    wanted = torch.zeros(PER_CLASS * len(CLASSES))
    labels = dataset().train_labels
    hard = [int((labels == label).nonzero()[5]) for label in range(len(CLASSES))]
    wanted[hard] = 3.0
    assert rows_of(select(FORGETTING, tmp_path, 1, scores=wanted).images) == hard


@of_every_selection
def test_a_longer_selection_begins_like_a_shorter_one(tmp_path, spec):
    long, short = select(spec, tmp_path, 5), select(spec, tmp_path, 2)
    for label in range(len(CLASSES)):
        members = long.images[long.labels == label]
        assert torch.equal(members[:2], short.images[short.labels == label])


@of_every_selection
def test_only_random_selections_depend_on_the_seed(tmp_path, spec):
    one, other = (select(spec, tmp_path, 3, seed=seed) for seed in (0, 1))
    assert torch.equal(one.images, other.images) == (spec.name != "random")
    assert torch.equal(one.images, select(spec, tmp_path, 3).images)


@of_every_selection
def test_a_class_that_is_too_small_is_named(tmp_path, spec):
    small = with_two_bees()
    assert len(select(spec, tmp_path, 2, **small).images) == 6
    with pytest.raises(ConfigError, match=r"class 'bee'.* 3 .*needed"):
        select(spec, tmp_path, 3, **small)
