"""One stage of trajectory matching, on a small problem: what it gives, and when it stops."""

import math
from unittest.mock import patch

import pytest
import torch

from pdd_ray.configuration.methods.trajectory_matching import TrajectoryMatchingSpec
from pdd_ray.core import transfers
from pdd_ray.core.errors import ConfigError, NonFiniteLossError
from pdd_ray.methods import iterate_selection, trajectory_matching
from pdd_ray.methods.base import Candidate, Partial
from pdd_ray.methods.initial import random_real_images
from pdd_ray.methods.iterate_selection import validation_accuracy
from pdd_ray.methods.stage_images import stage_images_of
from pdd_ray.methods.trajectory_loss import inner_steps
from pdd_ray.methods.trajectory_matching import TrajectoryMatching
from pdd_ray.models.flat import FlatModel
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.testing.tiny import (
    CLASSES,
    SHAPE,
    InterruptionError,
    Silent,
    dataset,
    experts,
    labelled_images,
    stage_inputs,
    union_of,
)
from pdd_ray.training import loop as training

ITERATIONS = 7
EPOCHS = 3
"""Of the experts: segments of 1 epoch start at 0, 1 or 2."""


def spec_of(**changes):
    values = {
        "iterations": ITERATIONS,
        "inner_steps": 3,
        "expert_epochs": 1,
        "max_start_epoch": 3,
        "image_learning_rate": 20.0,
        "step_size_learning_rate": 1e-4,
        "initial_step_size": 0.05,
        "selection": {"every": 3, "networks": 2, "epochs": 2, "batch_size": 4},
        **changes,
    }
    return TrajectoryMatchingSpec.model_validate(values)


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory):
    return experts(tmp_path_factory.mktemp("experts"), count=3, epochs=EPOCHS)


def distill(inputs, folder, observer=None, **changes):
    folder.mkdir(exist_ok=True)
    method = TrajectoryMatching(spec_of(**changes))
    return method.distill(inputs, Partial(folder, seconds_between_saves=0.0), observer or Silent())


def assert_same(one, other):
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
    assert one.step_size == other.step_size
    assert one.facts == other.facts
    assert one.curves == other.curves


class Watching(Silent):
    """Remembers the images of every candidate."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def images(self, iteration, images):
        self.seen[iteration] = images.clone()


class Killing(Silent):
    """Ends the distillation when it hears of an iteration."""

    def __init__(self, iteration):
        super().__init__()
        self.last = iteration

    def scalars(self, iteration, values):
        if iteration == self.last and "loss" in values:
            raise InterruptionError


def test_a_stage_is_deterministic_and_makes_the_new_images_only(trajectories, tmp_path):
    inputs = stage_inputs(trajectories, previous=union_of([2]))
    before = inputs.previous.images.clone(), inputs.dataset.train_images.clone()
    one = distill(inputs, tmp_path / "one")
    assert_same(one, distill(inputs, tmp_path / "two"))
    assert one.images.shape == (3, *SHAPE)
    assert one.labels.tolist() == [0, 1, 2]
    assert torch.equal(inputs.previous.images, before[0])
    assert torch.equal(inputs.dataset.train_images, before[1])
    union = inputs.previous.extend(one.images, one.labels, one.images, one.step_size)
    assert torch.equal(union.images[:6], before[0])


def test_another_seed_gives_another_stage(trajectories, tmp_path):
    one = distill(stage_inputs(trajectories), tmp_path / "one")
    other = distill(stage_inputs(trajectories, seed=1), tmp_path / "other")
    assert not torch.equal(one.images, other.images)


def test_the_global_generator_is_not_touched(trajectories, tmp_path):
    before = torch.get_rng_state()
    distill(stage_inputs(trajectories), tmp_path / "one")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("killed", [1, 3, 4, 7])
def test_a_killed_stage_continues_to_the_same_outcome(trajectories, tmp_path, killed):
    inputs = stage_inputs(trajectories, previous=union_of([1]))
    whole = distill(inputs, tmp_path / "whole")
    with pytest.raises(InterruptionError):
        distill(inputs, tmp_path / "killed", Killing(killed))
    observer = Silent()
    assert_same(distill(inputs, tmp_path / "killed", observer), whole)
    assert observer.iterations == list(range(killed, ITERATIONS + 1))


def test_candidates_are_the_first_every_third_and_the_last_iterate(trajectories, tmp_path):
    observer = Watching()
    outcome = distill(stage_inputs(trajectories), tmp_path / "stage", observer)
    assert observer.candidates == [0, 3, 6, 7]
    assert outcome.curves["candidate_iteration"] == [0, 3, 6, 7]
    assert len(outcome.curves["validation_accuracy"]) == 4
    assert len(outcome.curves["loss"]) == len(outcome.curves["step_size"]) == ITERATIONS
    chosen = outcome.facts["chosen_iteration"]
    assert torch.equal(outcome.images, observer.seen[chosen])
    assert observer.iterations == list(range(1, ITERATIONS + 1))


@pytest.mark.parametrize(
    ("accuracies", "chosen"),
    [([0.1, 0.3, 0.3, 0.2], 3), ([0.0, 0.0, 0.0, 0.0], 0), ([0.1, 0.2, 0.3, 0.4], 7)],
)
def test_the_best_iterate_is_the_first_with_the_largest_validation_accuracy(
    trajectories, tmp_path, monkeypatch, accuracies, chosen
):
    values = iter(accuracies)
    monkeypatch.setattr(trajectory_matching, "validation_accuracy", lambda *_: next(values))
    observer = Watching()
    outcome = distill(stage_inputs(trajectories), tmp_path / "stage", observer)
    assert outcome.facts["chosen_iteration"] == chosen
    assert outcome.facts["validation_accuracy"] == max(accuracies)
    assert torch.equal(outcome.images, observer.seen[chosen])
    steps = [0.05, *outcome.curves["step_size"]]
    assert outcome.step_size == pytest.approx(steps[chosen])


def test_the_test_split_is_not_seen(trajectories, tmp_path):
    inputs = stage_inputs(trajectories)
    one = distill(inputs, tmp_path / "one")
    inputs.dataset.test_images.fill_(torch.nan)
    inputs.dataset.test_labels.zero_()
    assert_same(one, distill(inputs, tmp_path / "two"))


@pytest.mark.parametrize("conditioning", [True, False])
def test_validation_trains_networks_from_the_held_out_starts_on_what_is_matched(
    trajectories, monkeypatch, conditioning
):
    spec = spec_of(conditioning=conditioning)
    inputs = stage_inputs(trajectories, previous=union_of([1]))
    images, labels = labelled_images(1, "candidate")
    calls = []

    def record(state, *rest):
        calls.append((FlatModel(state.model).flatten(state.model), *rest))
        return training.train(state, *rest)

    monkeypatch.setattr(iterate_selection, "train", record)
    accuracy = validation_accuracy(
        Candidate(images, 0.05), stage_images_of(inputs, spec), inputs, spec.selection
    )
    assert 0 < accuracy <= 1
    assert len(calls) == 2
    earlier = inputs.previous if conditioning else inputs.previous.up_to(0)
    for start, (first, seen, classes, rates, *_) in zip(inputs.held_out, calls, strict=True):
        assert torch.equal(first, start)
        assert torch.equal(seen, torch.cat([earlier.images, images]))
        assert classes.tolist() == [*earlier.labels.tolist(), *labels.tolist()]
        assert rates == [0.05] * 3


def test_without_conditioning_the_choice_does_not_depend_on_earlier_images(trajectories, tmp_path):
    one, other = (
        distill(
            stage_inputs(trajectories, previous=union_of([2], seed)),
            tmp_path / str(seed),
            conditioning=False,
        )
        for seed in (0, 1)
    )
    assert_same(one, other)


class Recorded:
    """A trajectory that remembers which snapshots were asked for."""

    def __init__(self, trajectory, log):
        self._trajectory = trajectory
        self._log = log
        self.path = trajectory.path

    @property
    def length(self):
        return self._trajectory.length

    def snapshots(self, *epochs):
        self._log.append((self.path, *epochs))
        return self._trajectory.snapshots(*epochs)


def test_every_expert_is_used_once_per_pass_and_segments_fit(trajectories, tmp_path):
    log = []
    recorded = [Recorded(trajectory, log) for trajectory in trajectories]
    rarely = {"every": 30, "networks": 1, "epochs": 1}
    distill(stage_inputs(recorded), tmp_path / "stage", iterations=30, selection=rarely)
    paths = [path for path, _, _ in log]
    for turn in range(10):
        assert set(paths[3 * turn : 3 * turn + 3]) == {item.path for item in trajectories}
    assert len({tuple(paths[3 * turn : 3 * turn + 3]) for turn in range(10)}) > 1
    starts = [start for _, start, _ in log]
    assert set(starts) == {0, 1, 2}
    assert all(target == start + 1 for _, start, target in log)


def test_a_segment_starts_before_max_start_epoch(trajectories, tmp_path):
    log = []
    recorded = [Recorded(trajectory, log) for trajectory in trajectories]
    inputs = stage_inputs(recorded)
    distill(inputs, tmp_path / "stage", iterations=12, expert_epochs=2, max_start_epoch=2)
    assert {(start, target) for _, start, target in log} == {(0, 2), (1, 3)}


@pytest.mark.parametrize(("max_start_epoch", "expert_epochs"), [(4, 1), (3, 2)])
def test_too_short_trajectories_are_refused(trajectories, tmp_path, max_start_epoch, expert_epochs):
    with pytest.raises(ConfigError, match=r"has 4 snapshots; .* need 5"):
        distill(
            stage_inputs(trajectories),
            tmp_path / "stage",
            max_start_epoch=max_start_epoch,
            expert_epochs=expert_epochs,
        )


def test_a_divergence_names_its_iteration(trajectories, tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"iteration [1-7] of stage 2"):
        distill(
            stage_inputs(trajectories, previous=union_of([1])),
            tmp_path / "stage",
            image_learning_rate=1e12,
            step_size_learning_rate=1.0,
        )


def test_on_a_device_the_first_iteration_that_diverged_is_named_later(trajectories, tmp_path):
    spec = spec_of(
        image_learning_rate=1e12,
        step_size_learning_rate=1.0,
        selection={"every": 100, "networks": 1, "epochs": 1},
    )

    def message(folder, **changes):
        folder.mkdir()
        inputs, observer = stage_inputs(trajectories, **changes), Silent()
        seldom = Partial(folder, seconds_between_saves=3600.0)
        with pytest.raises(NonFiniteLossError) as error:
            TrajectoryMatching(spec).distill(inputs, seldom, observer)
        return str(error.value), observer.iterations

    on_cpu, before = message(tmp_path / "cpu")
    with fake_device(), patch.object(transfers, "SECONDS_BETWEEN_FETCHES", math.inf):
        later, told = message(tmp_path / "device", dataset=dataset().to(DEVICE), device=DEVICE)
    assert "distillation diverged in iteration" in later
    assert (later, told) == (on_cpu, before)
    assert not list((tmp_path / "device").iterdir())


def test_an_update_with_a_loss_above_the_limit_changes_nothing(trajectories, tmp_path):
    inputs = stage_inputs(trajectories)
    plain = distill(inputs, tmp_path / "plain", iterations=3)
    losses = plain.curves["loss"]
    never = distill(inputs, tmp_path / "never", iterations=3, skip_above=1e9)
    assert torch.equal(never.images, plain.images)
    assert never.curves == plain.curves
    always = distill(inputs, tmp_path / "always", iterations=3, skip_above=min(losses) / 1e6)
    assert len(set(always.curves["step_size"])) == 1
    first = random_real_images(inputs.dataset, 1, 0, "stage", 1, "initialisation")
    assert torch.equal(always.images, first)
    # the first one is skipped, so the second one starts without momentum
    some = distill(inputs, tmp_path / "some", iterations=1, skip_above=losses[0] * (1 - 1e-6))
    assert torch.equal(some.images, first)


def test_a_candidate_that_diverges_names_its_iteration(trajectories, tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"in iteration 0 of stage 1 the training loss"):
        distill(stage_inputs(trajectories), tmp_path / "stage", initial_step_size=1e30)


def first_candidate(trajectories, folder, **changes):
    observer = Watching()
    inputs = stage_inputs(trajectories, images_per_class=2)
    distill(inputs, folder, observer, iterations=1, **changes)
    return inputs, observer.seen[0]


def test_first_images_are_random_real_ones_of_each_class(trajectories, tmp_path):
    inputs, images = first_candidate(trajectories, tmp_path / "stage")
    data = inputs.dataset
    rows = [(data.train_images == image).flatten(1).all(1).nonzero().item() for image in images]
    assert len(set(rows)) == 6
    assert data.train_labels[rows].tolist() == [0, 0, 1, 1, 2, 2]


def test_first_images_can_be_noise(trajectories, tmp_path):
    inputs, images = first_candidate(trajectories, tmp_path / "stage", initialisation="noise")
    data = inputs.dataset
    assert images.shape == (6, *SHAPE)
    assert not any((data.train_images == image).flatten(1).all(1).any() for image in images)
    assert abs(float(images.mean())) < 0.2
    assert float(images.std()) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("previous", "batch_size", "sizes"),
    [([], None, {6}), ([2, 1], None, {6, 3}), ([2, 1], 4, {4, 3}), ([], 100, {6})],
)
def test_the_inner_batch_is_as_large_as_one_stage(
    trajectories, tmp_path, monkeypatch, previous, batch_size, sizes
):
    seen = []

    def record(count, size, *rest):
        steps = inner_steps(count, size, *rest)
        seen.extend(len(step.indices) for step in steps)
        assert count == 3 * sum(previous) + 6
        return steps

    monkeypatch.setattr(trajectory_matching, "inner_steps", record)
    union = union_of(previous)
    inputs = stage_inputs(trajectories, images_per_class=2, previous=union)
    distill(inputs, tmp_path / "stage", batch_size=batch_size)
    assert set(seen) == sizes


@pytest.mark.parametrize("gradient", ["tesla", "unrolled"])
def test_other_gradients_make_a_stage_too(trajectories, tmp_path, gradient):
    inputs = stage_inputs(trajectories, previous=union_of([1]))
    exact = distill(inputs, tmp_path / "exact", iterations=1)
    other = distill(inputs, tmp_path / "other", iterations=1, gradient=gradient)
    assert other.curves["loss"] == pytest.approx(exact.curves["loss"], rel=1e-5)


def test_real_images_run_out_with_a_readable_message():
    with pytest.raises(ConfigError, match="class 'ant' has 10 train images, 11 are needed"):
        random_real_images(dataset(), 11, 0, "name")
    assert len(random_real_images(dataset(), 10, 0, "name")) == 10 * len(CLASSES)
