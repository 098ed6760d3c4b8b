"""What every method of the table has to keep, whatever it computes."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from pdd_ray.configuration import yaml
from pdd_ray.configuration.expand import expand
from pdd_ray.configuration.load import load_sweep, resolved
from pdd_ray.configuration.methods import MethodSpec
from pdd_ray.core.identities import digest
from pdd_ray.data.multi_formation import decode
from pdd_ray.data.synthetic_set import empty_set
from pdd_ray.methods.base import Partial
from pdd_ray.methods.stage import METHODS, create_method, extended
from pdd_ray.planning.sweep_plan import plan_sweep
from tests.planning.builders import FACTS, sweep_of
from tests.tiny import (
    CLASSES,
    PER_CLASS,
    SHAPE,
    InterruptionError,
    Silent,
    dataset,
    experts,
    stage_inputs,
    start_of,
)

SPEC: TypeAdapter[Any] = TypeAdapter(MethodSpec)
SELECTIONS = ("random", "herding", "k_center", "forgetting")
DISTILLING = tuple(name for name in METHODS if name not in SELECTIONS)
SMALL: dict[str, dict[str, Any]] = {
    "mtt": {
        "iterations": 4,
        "inner_steps": 2,
        "expert_epochs": 1,
        "max_start_epoch": 2,
        "image_learning_rate": 10.0,
        "selection": {"every": 2, "networks": 1, "epochs": 2},
    },
    "dc": {"iterations": 3, "outer_loop": 2, "inner_loop": 1, "real_batch_size": 6},
    "dsa": {"iterations": 3, "outer_loop": 2, "inner_loop": 1, "real_batch_size": 6},
    "dm": {"iterations": 4, "real_batch_size": 6},
    "cafe": {"iterations": 3, "real_batch_size": 6, "max_updates": 2, "max_network_epochs": 1},
    "cafe_dsa": {"iterations": 3, "real_batch_size": 6, "max_updates": 2, "max_network_epochs": 1},
    "idc": {"iterations": 3, "inner_loop": 2, "real_batch_size": 6, "network_images": 6},
    "dream": {"iterations": 3, "inner_loop": 2, "real_batch_size": 6, "network_images": 6},
}

CERTAIN: dict[str, dict[str, Any]] = {
    "mtt": {"image_learning_rate": 30.0, "max_start_epoch": 1},
    "dc": {"image_learning_rate": 1.0, "outer_loop": 1, "real_batch_size": PER_CLASS},
    "dsa": {"image_learning_rate": 1.0, "outer_loop": 1, "real_batch_size": PER_CLASS},
    "dm": {"real_batch_size": PER_CLASS},
    "cafe": {"image_learning_rate": 1.0, "real_batch_size": PER_CLASS},
    "cafe_dsa": {"image_learning_rate": 1.0, "real_batch_size": PER_CLASS},
    "idc": {"image_learning_rate": 5.0, "inner_loop": 1, "real_batch_size": PER_CLASS},
    "dream": {"image_learning_rate": 5.0, "inner_loop": 1, "real_batch_size": PER_CLASS},
}
"""With one network and these, every update has the same loss but for the images."""


class Interrupting(Silent):
    """Ends a stage after a number of updates or networks."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def progress(self, fraction: float, values: object) -> None:
        self._left -= 1
        if self._left < 0:
            raise InterruptionError


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory):
    return experts(tmp_path_factory.mktemp("experts"), count=2)


def spec_of(name, **changes):
    return SPEC.validate_python({"name": name, **SMALL.get(name, {}), **changes})


def inputs_of(spec, trajectories, **changes):
    count = len(CLASSES) * PER_CLASS
    first = empty_set(
        SHAPE, CLASSES, "normalise", "tiny", domain=spec.pixel_domain, factor=spec.multi_formation
    )
    values: dict[str, Any] = {
        "previous": first,
        "features": torch.randn(count, 5, generator=torch.Generator().manual_seed(1)),
        "scores": torch.arange(count).float(),
        **changes,
    }
    return stage_inputs(trajectories, **values)


def distil(spec, inputs, folder, observer=None):
    folder.mkdir(parents=True, exist_ok=True)
    return create_method(spec).distill(
        inputs, Partial(folder, seconds_between_saves=0.0), observer or Silent()
    )


def second_stage(spec, trajectories, folder, **changes):
    inputs = inputs_of(spec, trajectories, seed=5)
    first = extended(inputs.previous, distil(spec, inputs, folder / "first"), dataset())
    bank = [start_of(200), start_of(201)] if spec.bank_chains else []
    return inputs_of(spec, trajectories, **{"previous": first, "bank": bank, **changes})


@pytest.fixture
def last_iterate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MTT hand on its last iterate, as the other methods do."""
    calls = itertools.count()
    path = "pdd_ray.methods.trajectory_matching.validation_accuracy"
    monkeypatch.setattr(path, lambda *_: next(calls) / 1000)


def step_keys(sweep):
    """Return the keys of all steps of ``sweep`` on a small data set."""
    return [step.key for step in plan_sweep(sweep, expand(sweep), lambda _: FACTS).steps]


def begins_with(union, earlier):
    names = ("images", "labels", "stage", "pixels", "step_sizes")
    pairs = [(getattr(union, name), getattr(earlier, name)) for name in names]
    return all(torch.equal(new[: len(old)], old) for new, old in pairs)


def test_the_table_has_every_method_of_the_configuration():
    names = {member.model_fields["name"].default for member in MethodSpec.__origin__.__args__}
    assert set(METHODS) == names


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    def test_it_makes_as_many_images_of_each_class(self, name, trajectories, tmp_path):
        outcome = distil(
            spec_of(name), inputs_of(spec_of(name), trajectories, images_per_class=2), tmp_path
        )
        assert outcome.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert outcome.images.shape == (6, *SHAPE)
        assert outcome.images.dtype == torch.float32
        assert outcome.images.isfinite().all()

    def test_the_same_inputs_give_the_same_bytes(self, name, trajectories, tmp_path):
        spec = spec_of(name)
        one, again, other = (
            distil(spec, inputs_of(spec, trajectories, seed=seed), tmp_path / folder)
            for seed, folder in ((0, "a"), (0, "b"), (1, "c"))
        )
        assert torch.equal(one.images, again.images)
        chosen_by_data = name in SELECTIONS and name != "random"
        assert torch.equal(one.images, other.images) == chosen_by_data

    def test_global_random_numbers_stay_as_they_are(self, name, trajectories, tmp_path):
        before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
        distil(spec_of(name), inputs_of(spec_of(name), trajectories), tmp_path)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()
        assert random.getstate() == before[2]

    def test_its_configuration_survives_being_written(self, name):
        spec = spec_of(name)
        again = SPEC.validate_python(spec.to_json())
        assert again == spec
        assert digest(again.to_json()) == digest(spec.to_json())

    def test_a_sweep_file_gives_the_same_configuration_and_keys(self, name, tmp_path):
        switches = {"conditioning": False, "transition": False, "difficulty": {"width": 2.5}}
        for changes in ({}, switches if name in DISTILLING else {}):
            spec = spec_of(name, **changes)
            stages = {"count": 2 if name in DISTILLING else 1, "images_per_class": 1}
            sweep = sweep_of(method=spec.to_json(), stages=stages)
            file = tmp_path / "sweep.yaml"
            file.write_text(yaml.dump(resolved(sweep)), encoding="utf-8")
            again = load_sweep(str(file))
            assert type(again.method) is type(spec)
            assert again.method == spec
            assert again == sweep
            assert step_keys(again) == step_keys(sweep)


@pytest.mark.parametrize("name", DISTILLING)
class TestEveryDistillation:
    @pytest.mark.parametrize("stage", [1, 2])
    def test_the_loss_falls(self, name, stage, trajectories, tmp_path):
        spec = spec_of(name, iterations=8, augmentation="none", **CERTAIN[name])
        inputs = second_stage(spec, trajectories[:1], tmp_path) if stage == 2 else None
        inputs = inputs or inputs_of(spec, trajectories[:1])
        network = [start_of(200)] if spec.bank_chains else []
        outcome = distil(spec, replace(inputs, bank=network), tmp_path / "falling")
        loss = outcome.curves["loss"]
        assert len(loss) == 8
        assert loss[-1] < 0.95 * loss[0]
        assert (outcome.facts["first_loss"], outcome.facts["last_loss"]) == (loss[0], loss[-1])

    def test_earlier_images_are_untouched_to_the_bit(self, name, trajectories, tmp_path):
        spec = spec_of(name)
        inputs = second_stage(spec, trajectories, tmp_path)
        union = extended(inputs.previous, distil(spec, inputs, tmp_path / "second"), dataset())
        assert union.stages == 2
        assert begins_with(union, inputs.previous)
        if spec.pixel_domain == "unit":
            ready = dataset().pixels.forward(decode(union.only(2).pixels, spec.multi_formation))
            assert torch.equal(union.only(2).images, ready)
            assert union.pixels.min() >= 0
            assert union.pixels.max() <= 1

    @pytest.mark.usefixtures("last_iterate")
    def test_earlier_images_change_if_that_is_wanted(self, name, trajectories, tmp_path):
        spec = spec_of(name, update_previous={"learning_rate_scale": 0.5})
        inputs = second_stage(spec, trajectories, tmp_path)
        union = extended(inputs.previous, distil(spec, inputs, tmp_path / "second"), dataset())
        assert union.up_to(1).images.shape == inputs.previous.images.shape
        assert torch.equal(union.up_to(1).labels, inputs.previous.labels)
        assert not torch.equal(union.up_to(1).images, inputs.previous.images)

    def test_an_interrupted_stage_continues_to_the_same_bytes(self, name, trajectories, tmp_path):
        spec = spec_of(name)
        inputs = second_stage(spec, trajectories, tmp_path)
        whole = distil(spec, inputs, tmp_path / "whole")
        with pytest.raises(InterruptionError):
            distil(spec, inputs, tmp_path / "part", Interrupting(after=2))
        resumed = distil(spec, inputs, tmp_path / "part")
        assert torch.equal(resumed.images, whole.images)
        assert resumed.curves == whole.curves

    @pytest.mark.usefixtures("last_iterate")
    def test_earlier_images_matter_under_conditioning_only(self, name, trajectories, tmp_path):
        for conditioning in (True, False):
            spec = spec_of(name, conditioning=conditioning)
            inputs = second_stage(spec, trajectories, tmp_path / str(conditioning))
            union = inputs.previous
            other = union.up_to(0).extend(
                union.images.flip(0), union.labels, union.pixels.flip(0), union.step_size(1)
            )
            changed = second_stage(
                spec, trajectories, tmp_path / f"{conditioning}2", previous=other
            )
            one = distil(spec, inputs, tmp_path / f"{conditioning}3")
            two = distil(spec, changed, tmp_path / f"{conditioning}4")
            assert torch.equal(one.images, two.images) != conditioning

    def test_the_bank_is_drawn_from(self, name, trajectories, tmp_path):
        spec = spec_of(name)
        if not spec.bank_chains:
            pytest.skip("has no bank: its experts start from the transitioned networks")
        inputs = second_stage(spec, trajectories, tmp_path)
        other = second_stage(spec, trajectories, tmp_path / "o", bank=[start_of(7), start_of(8)])
        one, two = (distil(spec, x, tmp_path / y) for x, y in ((inputs, "x"), (other, "y")))
        assert not torch.equal(one.images, two.images)
