"""The facts that every method keeps, as test classes to derive from.

A package that adds a method runs them on it::

    from pdd_ray.testing.contract import DistillationContract

    class TestClassMeans(DistillationContract):
        options = {"name": "class_means", "averaged": 2}

:class:`MethodContract` is for every method, :class:`DistillationContract` for those that derive
from ``DistillationSpec``, and so have stages that are conditioned on earlier ones.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch

from pdd_ray.configuration.load import load_sweep, resolved, sweep_from
from pdd_ray.configuration.method_registry import read_method
from pdd_ray.configuration.yaml import dump
from pdd_ray.core.identities import digest
from pdd_ray.data.facts import DataFacts
from pdd_ray.data.multi_formation import decode
from pdd_ray.data.synthetic_set import empty_set
from pdd_ray.methods.base import Partial
from pdd_ray.methods.stage import create_method, extended
from pdd_ray.planning.sweep_plan import plan_sweep
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.testing.tiny import (
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

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pdd_ray.configuration.expand import LoadedSweep
    from pdd_ray.configuration.method import MethodTraits
    from pdd_ray.data.synthetic_set import SyntheticSet
    from pdd_ray.methods.base import Observer, StageInputs, StageOutcome
    from pdd_ray.training.trajectories import Trajectory

FACTS = DataFacts(
    fingerprint="facts",
    classes=CLASSES,
    shape=(1, 8, 8),
    train_counts=(40, 20, 30),
    test_counts=(10, 10, 10),
)
SWEEP: Mapping[str, Any] = {
    "name": "contract",
    "model": {"name": "convnet", "width": 8, "depth": 2},
    "experts": {"count": 2, "epochs": 8},
    "evaluation": {"networks": 1},
}


class Interrupting(Silent):
    """An observer that ends a stage after a number of reports of its progress."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def progress(self, fraction: float, values: Mapping[str, float]) -> None:
        """Raise InterruptionError at the right time."""
        self._left -= 1
        if self._left < 0:
            raise InterruptionError


class MethodContract:
    """What a method keeps, whatever it computes.

    Attributes:
        options: The method with small settings, as in a sweep file.
        draws_by_seed: Whether another seed gives other images.
    """

    options: ClassVar[Mapping[str, Any]]
    draws_by_seed: ClassVar[bool] = True

    @pytest.fixture
    def trajectories(self, tmp_path_factory: pytest.TempPathFactory) -> list[Trajectory]:
        """Return trajectories of two experts on the tiny data set, trained once per session."""
        return _two_experts(tmp_path_factory.getbasetemp())

    def spec(self, **changes: object) -> MethodTraits:
        """Return the configuration of the method, changed."""
        return read_method({**self.options, **changes})

    def test_it_makes_as_many_images_of_each_class(
        self, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """S_i has the images asked for, class by class."""
        spec = self.spec()
        outcome = distil(spec, inputs_of(spec, trajectories, images_per_class=2), tmp_path)
        assert outcome.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert outcome.images.shape == (6, *SHAPE)
        assert outcome.images.dtype == torch.float32
        assert outcome.images.isfinite().all()
        assert outcome.images.device.type == "cpu"

    def test_the_same_inputs_give_the_same_bytes(
        self, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """All that is random comes from the seed."""
        spec = self.spec()
        one, again, other = (
            distil(spec, inputs_of(spec, trajectories, seed=seed), tmp_path / folder)
            for seed, folder in ((0, "a"), (0, "b"), (1, "c"))
        )
        assert torch.equal(one.images, again.images)
        assert torch.equal(one.images, other.images) != self.draws_by_seed

    def test_a_device_gives_the_bytes_of_the_cpu(
        self, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """It never mixes tensors of a device and of the CPU as no GPU would allow."""
        spec = self.spec()
        stages = [inputs_of(spec, trajectories)]
        if spec.distills:
            stages.append(second_stage(spec, trajectories, tmp_path))
        for number, inputs in enumerate(stages):
            on_cpu = distil(spec, inputs, tmp_path / f"cpu{number}")
            with fake_device():
                moved = replace(inputs, dataset=inputs.dataset.to(DEVICE), device=DEVICE)
                on_device = distil(spec, moved, tmp_path / f"device{number}")
            assert torch.equal(on_device.images, on_cpu.images)
            assert on_device.step_size == on_cpu.step_size

    def test_global_random_numbers_stay_as_they_are(
        self, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """The global generators are not touched."""
        before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # type: ignore[index]
        distil(self.spec(), inputs_of(self.spec(), trajectories), tmp_path)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index]
        assert random.getstate() == before[2]

    def test_its_configuration_survives_being_written(self) -> None:
        """What a step's configuration holds gives the method again."""
        spec = self.spec()
        for again in (read_method(spec.to_json()), read_method(spec.identity())):
            assert again == spec
            assert hash(again) == hash(spec)
            assert digest(again.identity()) == digest(spec.identity())

    def test_a_sweep_file_gives_the_same_configuration_and_keys(self, tmp_path: Path) -> None:
        """A resolved sweep that is written and read is the same sweep, with the same steps."""
        for changes in self.changes_of_sweeps():
            spec = self.spec(**changes)
            stages = {"count": 2 if spec.distills else 1, "images_per_class": 1}
            sweep = sweep_from({**SWEEP, "method": spec.to_json(), "stages": stages})
            file = tmp_path / "sweep.yaml"
            file.write_text(dump(resolved(sweep.spec)), encoding="utf-8")
            again = load_sweep(str(file))
            assert again.spec.method == spec
            assert again == sweep
            assert step_keys(again) == step_keys(sweep)

    def changes_of_sweeps(self) -> list[dict[str, Any]]:
        """Return changes of the method with which sweeps are written and read."""
        return [{}]


class DistillationContract(MethodContract):
    """What a distillation keeps: the first stage, and one that is conditioned on it.

    Attributes:
        falling: Settings with which, with one network and 8 iterations, every update has the same
            loss but for the images, so that it has to fall; None for a method without a loss.
        iterates: Whether it saves its progress, and tells it to its observer.
    """

    falling: ClassVar[Mapping[str, Any] | None] = None
    iterates: ClassVar[bool] = True

    @pytest.fixture
    def last_iterate(self) -> None:
        """Make the method hand on its last iterate, if it chooses among several."""

    def changes_of_sweeps(self) -> list[dict[str, Any]]:
        """Return changes of the method with which sweeps are written and read."""
        return [{}, {"conditioning": False, "transition": False, "difficulty": {"width": 2.5}}]

    @pytest.mark.parametrize("stage", [1, 2])
    def test_the_loss_falls(
        self, stage: int, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """Its updates lower the loss that it reports."""
        if self.falling is None:
            pytest.skip("it has no loss that is the same at every update")
        spec = self.spec(iterations=8, augmentation="none", **self.falling)
        inputs = second_stage(spec, trajectories[:1], tmp_path) if stage == 2 else None
        inputs = inputs or inputs_of(spec, trajectories[:1])
        network = [start_of(200)] if spec.bank_chains else []
        outcome = distil(spec, replace(inputs, bank=network), tmp_path / "falling")
        loss = outcome.curves["loss"]
        assert len(loss) == 8
        assert loss[-1] < 0.95 * loss[0]
        assert (outcome.facts["first_loss"], outcome.facts["last_loss"]) == (loss[0], loss[-1])

    def test_earlier_images_are_untouched_to_the_bit(
        self, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """U_{i-1} is a part of U_i."""
        spec = self.spec()
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
    def test_earlier_images_change_if_that_is_wanted(
        self, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """``update_previous`` changes images of earlier stages, and nothing else of them."""
        spec = self.spec(update_previous={"learning_rate_scale": 0.5})
        inputs = second_stage(spec, trajectories, tmp_path)
        union = extended(inputs.previous, distil(spec, inputs, tmp_path / "second"), dataset())
        assert union.up_to(1).images.shape == inputs.previous.images.shape
        assert torch.equal(union.up_to(1).labels, inputs.previous.labels)
        assert not torch.equal(union.up_to(1).images, inputs.previous.images)

    def test_an_interrupted_stage_continues_to_the_same_bytes(
        self, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """A stage that was killed goes on where it was."""
        if not self.iterates:
            pytest.skip("it has nothing to continue")
        spec = self.spec()
        inputs = second_stage(spec, trajectories, tmp_path)
        whole = distil(spec, inputs, tmp_path / "whole")
        with pytest.raises(InterruptionError):
            distil(spec, inputs, tmp_path / "part", Interrupting(after=2))
        resumed = distil(spec, inputs, tmp_path / "part")
        assert torch.equal(resumed.images, whole.images)
        assert resumed.curves == whole.curves

    @pytest.mark.slow
    def test_a_stage_interrupted_on_a_device_continues_to_the_bytes_of_the_cpu(
        self, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """What is saved from a device and taken there again is what the CPU has."""
        if not self.iterates:
            pytest.skip("it has nothing to continue")
        spec = self.spec()
        inputs = second_stage(spec, trajectories, tmp_path)
        whole = distil(spec, inputs, tmp_path / "whole")
        with fake_device():
            moved = replace(inputs, dataset=inputs.dataset.to(DEVICE), device=DEVICE)
            with pytest.raises(InterruptionError):
                distil(spec, moved, tmp_path / "part", Interrupting(after=2))
            assert list((tmp_path / "part").iterdir())
            resumed = distil(spec, moved, tmp_path / "part")
        assert torch.equal(resumed.images, whole.images)
        assert resumed.step_size == whole.step_size
        assert resumed.curves == whole.curves

    @pytest.mark.usefixtures("last_iterate")
    def test_earlier_images_matter_under_conditioning_only(
        self, trajectories: list[Trajectory], tmp_path: Path
    ) -> None:
        """Other earlier images give other new ones if, and only if, stages are conditioned."""
        for conditioning in (True, False):
            spec = self.spec(conditioning=conditioning)
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

    def test_the_bank_is_drawn_from(self, trajectories: list[Trajectory], tmp_path: Path) -> None:
        """Later stages use the transitioned networks that they are given."""
        spec = self.spec()
        if not spec.bank_chains:
            pytest.skip("it has no bank")
        inputs = second_stage(spec, trajectories, tmp_path)
        other = second_stage(spec, trajectories, tmp_path / "o", bank=[start_of(7), start_of(8)])
        one, two = (distil(spec, x, tmp_path / y) for x, y in ((inputs, "x"), (other, "y")))
        assert not torch.equal(one.images, two.images)


def inputs_of(spec: MethodTraits, trajectories: list[Trajectory], **changes: object) -> StageInputs:
    """Return the inputs of the first stage of one image per class, changed."""
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


def distil(
    spec: MethodTraits, inputs: StageInputs, folder: Path, observer: Observer | None = None
) -> StageOutcome:
    """Return the stage that ``inputs`` gives; progress is saved in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = Partial(folder, seconds_between_saves=0.0)
    return create_method(spec).distill(inputs, partial, observer or Silent())


def second_stage(
    spec: MethodTraits, trajectories: list[Trajectory], folder: Path, **changes: object
) -> StageInputs:
    """Return the inputs of a stage after one that the method made, changed."""
    made_from = (spec, tuple(str(trajectory.path) for trajectory in trajectories))
    first = _FIRST_STAGES.get(made_from)
    if first is None:
        inputs = inputs_of(spec, trajectories, seed=5)
        first = extended(inputs.previous, distil(spec, inputs, folder / "first"), dataset())
        _FIRST_STAGES[made_from] = first
    bank = [start_of(200), start_of(201)] if spec.bank_chains else []
    return inputs_of(spec, trajectories, **{"previous": first, "bank": bank, **changes})


@cache
def _two_experts(folder: Path) -> list[Trajectory]:
    return experts(folder / "experts of the contract", count=2)


_FIRST_STAGES: dict[tuple[MethodTraits, tuple[str, ...]], SyntheticSet] = {}
"""First stages by method and experts: sets are immutable, and tests of one method share them."""


def begins_with(union: SyntheticSet, earlier: SyntheticSet) -> bool:
    """Return whether the first stages of ``union`` are ``earlier``, to the bit."""
    names = ("images", "labels", "stage", "pixels", "step_sizes")
    pairs = [(getattr(union, name), getattr(earlier, name)) for name in names]
    return all(torch.equal(new[: len(old)], old) for new, old in pairs)


def step_keys(sweep: LoadedSweep) -> list[str]:
    """Return the keys of all steps of ``sweep`` on a small data set."""
    plan = plan_sweep(sweep.spec, sweep.experiments, lambda _: FACTS)
    return [step.key for step in plan.steps]
