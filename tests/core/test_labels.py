"""Facts about the labels of experiments, steps and pictures."""

import pytest

from pdd_ray.core.labels import (
    axis_label,
    experiment_label,
    name_within_experiment,
    picture_label,
)

AXES = {"method.iterations": 20, "stages": {"count": 3, "images_per_class": 2}}


def test_an_experiment_is_called_by_its_variant_its_axes_and_its_seed():
    assert experiment_label("pdd", AXES, 4) == "pdd/iterations=20/stages=3x2/seed4"
    assert experiment_label("base", {}, 0) == "base/seed0"


def test_a_value_has_no_part_that_would_be_another_part_of_the_label():
    assert experiment_label("a", {"data.root": "/x/y"}, 0) == "a/root=|x|y/seed0"
    assert experiment_label("a", {"model": {"name": "b/c"}}, 0) == 'a/model={"name":"b|c"}/seed0'


def test_a_picture_has_a_name_that_a_file_can_have():
    name = picture_label("pdd", {**AXES, "data.root": "/x"}, 1, phase=2)
    assert name == "pdd-iterations=20-stages=_count_3_images_per_class_2_-root=_x-seed1-phase2"
    assert picture_label("pdd", {}, 0) == "pdd-seed0"


def test_an_axis_is_called_by_its_last_name():
    assert axis_label("method.max_start_epoch", "4") == "max_start_epoch=4"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("pdd/seed0/stage2", "stage2"),
        ("pdd/epochs=4/seed12/phase1/stage2", "phase1/stage2"),
        ("data", "data"),
    ],
)
def test_steps_have_a_name_within_their_experiment(label: str, name: str):
    assert name_within_experiment(label) == name


@pytest.mark.parametrize("seed", [0, 12, -3])
def test_the_name_of_a_step_is_what_was_put_behind_its_experiment(seed: int):
    assert name_within_experiment(f"{experiment_label('pdd', AXES, seed)}/stage2") == "stage2"
