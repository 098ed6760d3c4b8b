"""IDC's stages against the loop written plainly, and the parts that they are made of."""

import pickle
import shutil
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from pdd_ray.configuration.method import UpdatePreviousSpec
from pdd_ray.configuration.methods.gradient_matching import IdcSpec
from pdd_ray.core.seeding import generator
from pdd_ray.data.multi_formation import decode, decode_labels
from pdd_ray.data.synthetic_set import empty_set
from pdd_ray.methods.base import Partial
from pdd_ray.methods.class_matching import ClassTask
from pdd_ray.methods.drawn_networks import drawn_network
from pdd_ray.methods.feature_matching_idc import FeatureMatcher
from pdd_ray.methods.idc import (
    DecodeAndPrepare,
    Idc,
    RealTraining,
    ShuffledBatches,
    create_matcher,
    draw_subsample,
    first_images,
)
from pdd_ray.methods.initial import class_members
from pdd_ray.methods.stage_images import stage_images_of
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.tiny import (
    CLASSES,
    MODEL,
    PER_CLASS,
    SHAPE,
    InterruptionError,
    Silent,
    dataset,
    new_model,
    stage_inputs,
    start_of,
)
from pdd_ray.training.augmentation.rules import Augmentation, draw_augmentation

SMALL = {
    "iterations": 2,
    "inner_loop": 3,
    "real_batch_size": 4,
    "synthetic_batch_size": 6,
    "image_learning_rate": 5.0,
    "network_batch_size": 8,
    "network_images": 12,
}
BATCH_NORM = ConvNetSpec(width=4, depth=2, norm="batch")

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"
)


def spec_of(**changes):
    return IdcSpec(**{**SMALL, **changes})


def union_of(sizes, factor=2):
    """Return a union of stages that IDC could have made."""
    data = dataset()
    union = empty_set(SHAPE, CLASSES, "normalise", data.fingerprint, domain="unit", factor=factor)
    for stage, count in enumerate(sizes):
        pixels = torch.rand(len(CLASSES) * count, *SHAPE, generator=generator(4, "union", stage))
        labels = torch.arange(len(CLASSES)).repeat_interleave(count)
        images = DecodeAndPrepare(factor, data.pixels)(pixels)
        union = union.extend(images, decode_labels(labels, factor), pixels, 0.01)
    return union


def second_stage(**changes):
    bank = [start_of(7), start_of(8)]
    return stage_inputs([], **{"previous": union_of([2]), "bank": bank, **changes})


def first_stage(**changes):
    return stage_inputs([], **changes)


def distilled(spec, inputs, folder):
    return Idc(spec).distill(inputs, Partial(folder, seconds_between_saves=0.0), Silent())


class PlainLoop:
    """IDC written down step by step, with torch's optimisers and the random draws of a stage."""

    def __init__(self, spec, inputs):
        self.spec, self.inputs = spec, inputs
        self.stage_images = stage_images_of(inputs, spec)
        self.real_batches = ShuffledBatches(spec, inputs)
        self.training = RealTraining(spec, inputs)
        self.prepare = DecodeAndPrepare(spec.factor, inputs.dataset.pixels)

    def images(self):
        spec, inputs = self.spec, self.inputs
        images = first_images(spec, inputs).requires_grad_()
        rate = spec.image_rate(inputs.images_per_class, SHAPE[1], inputs.stage)
        optimiser = torch.optim.SGD([images], lr=rate, momentum=spec.momentum)
        for draw in range(spec.iterations):
            model = new_model(inputs.model)
            FlatModel(model).load(model, drawn_network(inputs, draw))
            network = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
            images.data.clamp_(0, 1)
            for sweep in range(spec.inner_loop):
                self.sweep(images, optimiser, model, draw, sweep)
                self.train(model, network, draw * spec.inner_loop + sweep)
        return images.detach().clamp(0, 1)

    def sweep(self, images, optimiser, model, draw, sweep):
        positions = self.real_batches.positions(None, draw, sweep)
        optimiser.zero_grad()
        for label in range(len(CLASSES)):
            self.loss(images, positions[label], model, draw, sweep, label).backward()
            if self.spec.coasting:
                optimiser.step()
                optimiser.zero_grad()
                images.grad = torch.zeros_like(images)
        if not self.spec.coasting:
            optimiser.step()

    def loss(self, images, positions, model, draw, sweep, label):
        own = self.prepare(images[self.stage_images.labels == label])
        union = torch.cat([self.stage_images.frozen[self.stage_images.frozen_labels == label], own])
        source = generator(
            self.inputs.seed, "stage", self.inputs.stage, "match", draw, sweep, label
        )
        augmentation = draw_augmentation(
            "idc", self.spec.augmentation, 1, *SHAPE[1:], source, shared=True
        )
        if len(union) > self.spec.synthetic_batch_size:
            order = torch.randperm(len(union), generator=source)
            union = union[order[: self.spec.synthetic_batch_size]]
        real = self.inputs.dataset.train_images[positions]
        both = [augmentation.apply(real), augmentation.apply(union)]
        if self.spec.match == "features":
            target, mean = (model[:-1](side).mean(0) for side in both)
            return (mean - target.detach()).square().sum()
        target, gradients = (self.kernel_gradients(model, side, label) for side in both)
        pairs = zip(gradients, target, strict=True)
        return torch.stack([(a - b.detach()).square().sum() for a, b in pairs]).sum()

    def kernel_gradients(self, model, images, label):
        kernels = [value for value in model.parameters() if value.dim() == 4]
        loss = F.cross_entropy(model(images), torch.full((len(images),), label))
        return torch.autograd.grad(loss, kernels, create_graph=True)

    def train(self, model, optimiser, update):
        data = self.inputs.dataset
        for step in range(update * self.training.steps, (update + 1) * self.training.steps):
            batch = self.training.batch(step)
            images, labels = data.train_images[batch.indices], data.train_labels[batch.indices]
            logits_of = batch.augmentation.apply(images)
            weights = [(1.0, labels)]
            if batch.cutmix:
                ratio, partners = batch.cutmix.ratio, labels[batch.cutmix.permutation]
                weights = [(ratio, labels), (1 - ratio, partners)]
                logits_of = batch.cutmix.apply(logits_of)
            logits = model(logits_of)
            loss = sum(weight * F.cross_entropy(logits, each) for weight, each in weights)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


@pytest.mark.parametrize("inputs_of", [first_stage, second_stage])
@pytest.mark.parametrize("changes", [{}, {"coasting": True}, {"match": "features"}])
def test_a_stage_equals_the_loop_written_plainly(inputs_of, changes, tmp_path):
    spec = spec_of(**changes)
    outcome = distilled(spec, inputs_of(), tmp_path)
    start = first_images(spec, inputs_of())
    expected = PlainLoop(spec, inputs_of()).images()
    assert float((expected - start).abs().max()) > 0.01
    torch.testing.assert_close(outcome.images, expected, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("match", ["gradient", "features"])
def test_with_batch_norm_frozen_and_new_images_are_one_batch(match, tmp_path):
    spec = spec_of(match=match, iterations=1, network_images=0)
    inputs = second_stage(model=BATCH_NORM, bank=())
    outcome = distilled(spec, inputs, tmp_path)
    expected = PlainLoop(spec, inputs).images()
    torch.testing.assert_close(outcome.images, expected, rtol=0.0, atol=1e-4)


def test_a_stage_that_was_stopped_continues_to_the_same_images(tmp_path):
    spec = spec_of(iterations=3, coasting=True)

    class Stopping(Silent):
        def scalars(self, iteration, values):
            if iteration == 2:
                raise InterruptionError

    inputs = second_stage()
    with pytest.raises(InterruptionError):
        Idc(spec).distill(inputs, Partial(tmp_path, seconds_between_saves=0.0), Stopping())
    assert list(tmp_path.iterdir())
    whole = tmp_path / "whole"
    whole.mkdir()
    continued = distilled(spec, inputs, tmp_path)
    assert torch.equal(continued.images, distilled(spec, inputs, whole).images)


def test_what_is_handed_on_are_pixels_class_by_class(tmp_path):
    outcome = distilled(spec_of(image_learning_rate=500.0), second_stage(), tmp_path)
    assert outcome.images.shape == (len(CLASSES), *SHAPE)
    assert outcome.labels.tolist() == [0, 1, 2]
    assert float(outcome.images.min()) == 0.0
    assert float(outcome.images.max()) == 1.0
    assert outcome.previous is None


def test_previous_images_are_updated_with_a_smaller_rate_if_asked_for(tmp_path):
    spec = spec_of(
        update_previous=UpdatePreviousSpec(learning_rate_scale=0.5),
        synthetic_batch_size=100,
        iterations=1,
        inner_loop=1,
    )
    inputs = second_stage()
    outcome = distilled(spec, inputs, tmp_path)
    moved = (outcome.previous - inputs.previous.pixels).abs()
    assert bool((moved.flatten(1).amax(1) > 0).all())
    (tmp_path / "full").mkdir()
    full = spec.model_copy(update={"update_previous": UpdatePreviousSpec(learning_rate_scale=1.0)})
    further = distilled(full, inputs, tmp_path / "full").previous
    inside = (further > 0) & (further < 1) & (outcome.previous > 0) & (outcome.previous < 1)
    torch.testing.assert_close(
        (further - inputs.previous.pixels)[inside],
        2 * (outcome.previous - inputs.previous.pixels)[inside],
        rtol=1e-3,
        atol=1e-6,
    )


@pytest.mark.parametrize("strategy", ["none", "color_crop_cutout_flip_scale_rotate", "rotate"])
def test_one_image_per_class_works_with_every_augmentation(strategy, tmp_path):
    spec = spec_of(
        factor=1, augmentation=strategy, network_augmentation=strategy, real_batch_size=1
    )
    outcome = distilled(spec, first_stage(), tmp_path)
    assert bool(outcome.images.isfinite().all())


@pytest.mark.parametrize(("inputs_of", "differ"), [(first_stage, True), (second_stage, False)])
def test_only_fresh_networks_are_trained_early(inputs_of, differ, tmp_path):
    losses = []
    for epochs in (0, 2):
        folder = tmp_path / str(epochs)
        folder.mkdir()
        spec = spec_of(early_epochs=epochs, iterations=1, inner_loop=1)
        losses.append(distilled(spec, inputs_of(), folder).facts["first_loss"])
    assert (losses[0] != losses[1]) == differ


class TestRealBatches:
    def test_every_image_of_a_class_is_given_once_before_any_is_given_again(self):
        spec = spec_of(real_batch_size=5, inner_loop=3)
        batches = ShuffledBatches(spec, first_stage())
        for label, members in enumerate(class_members(dataset())):
            first = [batches.positions(None, 0, sweep)[label] for sweep in range(2)]
            second = [batches.positions(None, *place)[label] for place in ((0, 2), (1, 0))]
            for turn in (first, second):
                assert torch.equal(torch.cat(turn).sort().values, members)
            assert not torch.equal(first[0].sort().values, second[0].sort().values)

    def test_a_class_with_fewer_images_gives_all(self):
        batches = ShuffledBatches(spec_of(real_batch_size=PER_CLASS + 1), first_stage())
        assert torch.equal(batches.positions(None, 1, 2)[1], class_members(dataset())[1])


class TestRealTraining:
    def test_images_are_rounded_up_to_whole_batches(self):
        assert RealTraining(spec_of(network_images=16), first_stage()).steps == 2
        assert RealTraining(spec_of(network_images=17), first_stage()).steps == 3
        assert RealTraining(spec_of(network_images=0), first_stage()).steps == 0

    def test_the_stream_of_batches_is_the_same_wherever_it_starts(self):
        training = RealTraining(spec_of(), first_stage())
        all_batches = [training.batch(step) for step in range(9)]
        for step in (8, 0, 4):
            batch = RealTraining(spec_of(), first_stage()).batch(step)
            assert torch.equal(batch.indices, all_batches[step].indices)
            assert (batch.cutmix is None) == (all_batches[step].cutmix is None)
        epochs = [all_batches[start : start + 3] for start in (0, 3, 6)]
        for epoch in epochs:
            indices = torch.cat([batch.indices for batch in epoch])
            assert len(indices.unique()) == len(indices) == 24
        for before, after in pairwise(epochs):
            assert not torch.equal(before[0].indices, after[0].indices)

    def test_a_small_data_set_is_one_batch(self):
        training = RealTraining(spec_of(network_batch_size=1000), first_stage())
        assert len(training.batch(3).indices) == len(CLASSES) * PER_CLASS


class TestSubsample:
    def test_rows_are_different_and_as_many_as_allowed(self):
        rows = draw_subsample(torch.zeros(9) > 0, 5, generator(0, "rows"), new_first=False)
        assert len(rows.unique()) == len(rows) == 5
        assert draw_subsample(torch.zeros(5) > 0, 5, generator(0), new_first=False) is None

    def test_new_rows_come_first_if_asked_for(self):
        is_new = torch.tensor([False] * 6 + [True] * 3)
        for seed in range(5):
            rows = draw_subsample(is_new, 4, generator(seed, "rows"), new_first=True)
            assert {6, 7, 8} < set(rows.tolist())
            fewer = draw_subsample(is_new, 2, generator(seed, "rows"), new_first=True)
            assert set(fewer.tolist()) < {6, 7, 8}


class TestFirstImages:
    def test_mixed_images_are_made_of_different_real_images_of_their_class(self):
        data = dataset()
        first = first_images(spec_of(), first_stage())
        parts = first.unfold(2, 4, 4).unfold(3, 4, 4)  # 2 by 2 tiles of 4 by 4 pixels
        for label, members in enumerate(class_members(data)):
            small = data.pixels.inverse(data.train_images[members])[:, :, ::2, ::2].clamp(0, 1)
            sources = set()
            for row in range(2):
                for col in range(2):
                    tile = parts[label, :, row, col]
                    distances = (small - tile).abs().flatten(1).amax(1)
                    assert float(distances.min()) == 0.0
                    sources.add(int(distances.argmin()))
            assert len(sources) == 4

    def test_noise_is_around_gray(self):
        first = first_images(spec_of(initialisation="noise"), first_stage(images_per_class=9))
        assert first.shape == (27, *SHAPE)
        assert 0.0 <= float(first.min()) < float(first.max()) <= 1.0
        assert float(first.mean()) == pytest.approx(0.5, abs=0.02)

    def test_stages_start_from_different_images(self):
        spec = spec_of()
        assert not torch.equal(
            first_images(spec, first_stage()), first_images(spec, second_stage())
        )


class TestMatchers:
    def problem(self, norm="instance", depth=2, *, compile=False):
        """Return a feature matcher in float64 with frozen images, theta, and a task."""
        source = generator(6, "feature problem")
        model_spec = ConvNetSpec(width=4, depth=depth, norm=norm)
        model = new_model(model_spec).double()
        real = torch.randn(6, *SHAPE, generator=source, dtype=torch.float64)
        frozen = torch.randn(5, *SHAPE, generator=source, dtype=torch.float64)
        labels = torch.tensor([0, 1, 1, 0, 1])
        matcher = FeatureMatcher(
            model_spec, real, frozen, labels, lambda x: decode(x, 2), compile=compile
        )
        augmentation = draw_augmentation(
            "idc", "color_crop_cutout", 1, *SHAPE[1:], source, shared=True
        )
        images = torch.rand(2, *SHAPE, generator=source, dtype=torch.float64)
        rows = torch.tensor([9, 0, 4, 2, 7])
        task = ClassTask(1, torch.tensor([5, 1, 2]), images, augmentation, rows)
        return matcher, FlatModel(model).flatten(model), task

    @pytest.mark.parametrize("norm", ["instance", "batch"])
    def test_the_gradient_of_features_equals_finite_differences(self, norm):
        matcher, theta, task = self.problem(norm)
        gradient = matcher.match(theta, [task])[0].gradient
        source, step = generator(7, "direction"), 1e-6
        direction = torch.randn(task.images.shape, generator=source, dtype=torch.float64)

        def loss(images):
            moved = ClassTask(1, task.real, images, task.augmentation, task.subsample)
            return float(matcher.match(theta, [moved])[0].loss)

        above, below = loss(task.images + step * direction), loss(task.images - step * direction)
        derivative = (above - below) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(derivative, rel=1e-6)

    @pytest.mark.slow
    @needs_compiler
    def test_dropped_images_have_no_part_in_batch_norm_when_compiled(self):
        (matcher, theta, task), (fast, *_) = (
            self.problem("batch", 1, compile=compile) for compile in (False, True)
        )
        expected, match = (each.match(theta, [task])[0] for each in (matcher, fast))
        torch.testing.assert_close(match.loss, expected.loss, rtol=1e-10, atol=0.0)
        torch.testing.assert_close(match.gradient, expected.gradient, rtol=1e-10, atol=1e-14)

    def test_a_batch_without_new_rows_moves_nothing(self):
        matcher, theta, task = self.problem()
        only_frozen = ClassTask(1, task.real, task.images, Augmentation(()), torch.tensor([0, 2]))
        match = matcher.match(theta, [only_frozen])[0]
        assert float(match.loss) > 0
        assert torch.equal(match.gradient, torch.zeros_like(task.images))

    @pytest.mark.parametrize("match", ["gradient", "features"])
    def test_classes_can_be_split_over_processes(self, match):
        inputs = second_stage()
        stage_images = stage_images_of(inputs, spec_of())
        matcher = create_matcher(
            spec_of(match=match), inputs, stage_images.frozen, stage_images.frozen_labels
        )
        images = first_images(spec_of(), inputs)
        tasks = [
            ClassTask(label, members[:4], images[label : label + 1], Augmentation(()))
            for label, members in enumerate(class_members(inputs.dataset))
        ]
        theta = start_of(3, MODEL)
        together = matcher.match(theta, tasks)
        elsewhere = pickle.loads(pickle.dumps(matcher))  # noqa: S301 - as a process would get it
        apart = [elsewhere.match(theta, [task])[0] for task in reversed(tasks)][::-1]
        for one, other in zip(together, apart, strict=True):
            assert torch.equal(one.loss, other.loss)
            assert torch.equal(one.gradient, other.gradient)
