"""DC's and DSA's stages against the loop written plainly."""

import copy

import pytest
import torch
import torch.nn.functional as F

from pdd_ray.configuration.method import UpdatePreviousSpec
from pdd_ray.configuration.methods.gradient_matching import DcSpec, DsaSpec
from pdd_ray.configuration.strategies import RULES
from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.core.seeding import generator
from pdd_ray.methods.base import Partial
from pdd_ray.methods.dc import Dc, batch_norm_statistics
from pdd_ray.methods.drawn_networks import PARTIAL_FILE, drawn_network
from pdd_ray.methods.initial import noise_images, random_real_images
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.tiny import (
    CLASSES,
    PER_CLASS,
    SHAPE,
    InterruptionError,
    Silent,
    dataset,
    nothing_yet,
    stage_inputs,
    start_of,
    union_of,
)
from pdd_ray.training.augmentation.rules import draw_augmentation

SMALL = {
    "iterations": 2,
    "outer_loop": 3,
    "inner_loop": 2,
    "real_batch_size": 4,
    "network_batch_size": 4,
}
BATCH_NORM = ConvNetSpec(width=4, depth=2, norm="batch")


def inputs_of(**changes):
    return stage_inputs([], images_per_class=2, **changes)


def distil(spec, inputs, folder, observer=None):
    folder.mkdir(exist_ok=True)
    return Dc(spec).distill(
        inputs, Partial(folder, seconds_between_saves=0.0), observer or Silent()
    )


def plain_distance(synthetic, real):
    total = 0
    for a, b in zip(synthetic, real, strict=True):
        if a.dim() > 1:
            a, b = a.flatten(1), b.flatten(1)
            total += (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return total


class PlainLoop:
    """The loop of DC and DSA with one graph over frozen and new images, in torch's optimisers."""

    def __init__(self, spec, inputs, frozen, frozen_labels):
        self.spec, self.inputs = spec, inputs
        self.names = ("stage", inputs.stage)
        self.data = inputs.dataset
        first = random_real_images if spec.initialisation == "real" else noise_images
        size = inputs.images_per_class
        self.images = first(self.data, size, inputs.seed, *self.names, "initial").requires_grad_()
        self.labels = torch.arange(len(CLASSES)).repeat_interleave(size)
        self.frozen, self.frozen_labels = frozen, frozen_labels

    def run(self):
        spec = self.spec
        outer_loop, inner_loop = spec.loops(self.inputs.images_per_class)
        optimiser = torch.optim.SGD(
            [self.images], lr=spec.image_learning_rate, momentum=spec.momentum
        )
        for draw in range(spec.iterations):
            model = create_model(self.inputs.model, SHAPE, len(CLASSES), torch.Generator())
            FlatModel(model).load(model, drawn_network(self.inputs, draw))
            for outer in range(outer_loop):
                loss = sum(
                    self.class_loss(model, label, draw, outer) for label in range(len(CLASSES))
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                if outer < outer_loop - 1:
                    self.train(model, draw, outer, inner_loop)
        return self.images.detach()

    def class_loss(self, model, label, draw, outer):
        source = generator(self.inputs.seed, *self.names, "matching", draw, outer, label)
        members = (self.data.train_labels == label).nonzero().flatten()
        chosen = members[torch.randperm(len(members), generator=source)]
        real = self.data.train_images[chosen[: self.spec.real_batch_size]]
        augmentation = draw_augmentation(
            "dsa", self.spec.augmentation, len(real), *SHAPE[1:], source, shared=True
        )
        frozen = self.frozen[self.frozen_labels == label]
        union = torch.cat([frozen, self.images[self.labels == label]])
        sides = [
            self.parameter_gradient(model, augmentation.apply(batch), label)
            for batch in (real, union)
        ]
        return plain_distance(sides[1], [value.detach() for value in sides[0]])

    def parameter_gradient(self, model, images, label):
        loss = F.cross_entropy(model(images), torch.full((len(images),), label))
        return torch.autograd.grad(loss, list(model.parameters()), create_graph=True)

    def train(self, model, draw, outer, epochs):
        images = torch.cat([self.frozen, self.images.detach()])
        labels = torch.cat([self.frozen_labels, self.labels])
        optimiser = torch.optim.SGD(model.parameters(), lr=self.spec.network_learning_rate)
        for epoch in range(epochs):
            names = (*self.names, "network", draw, "epochs", outer, epoch)
            source = generator(self.inputs.seed, *names)
            order = torch.randperm(len(images), generator=source)
            for rows in order.split(self.spec.network_batch_size):
                augmentation = draw_augmentation(
                    "dsa", self.spec.augmentation, len(rows), *SHAPE[1:], source
                )
                loss = F.cross_entropy(model(augmentation.apply(images[rows])), labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()


@pytest.mark.parametrize("spec", [DcSpec(**SMALL), DsaSpec(**SMALL)], ids=["dc", "dsa"])
def test_the_first_stage_is_the_loop_written_plainly(spec, tmp_path):
    inputs = inputs_of()
    outcome = distil(spec, inputs, tmp_path)
    nothing = nothing_yet()
    expected = PlainLoop(spec, inputs, nothing.images, nothing.labels).run()
    assert outcome.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert float((outcome.images - expected).abs().max()) < 1e-4


@pytest.mark.parametrize("spec", [DcSpec(**SMALL), DsaSpec(**SMALL)], ids=["dc", "dsa"])
def test_a_later_stage_matches_and_trains_on_the_union_from_the_bank(spec, tmp_path):
    previous = union_of([1, 2])
    inputs = inputs_of(previous=previous, bank=[start_of(7), start_of(8)])
    outcome = distil(spec, inputs, tmp_path)
    expected = PlainLoop(spec, inputs, previous.images, previous.labels).run()
    assert float((outcome.images - expected).abs().max()) < 1e-4
    assert outcome.previous is None


def test_without_conditioning_a_stage_is_made_as_if_there_were_no_earlier_one(tmp_path):
    spec = DcSpec(**SMALL, conditioning=False)
    inputs = inputs_of(previous=union_of([1]), bank=[start_of(7)])
    outcome = distil(spec, inputs, tmp_path)
    nothing = nothing_yet()
    expected = PlainLoop(spec, inputs, nothing.images, nothing.labels).run()
    assert float((outcome.images - expected).abs().max()) < 1e-4


def test_earlier_images_move_by_their_own_learning_rate(tmp_path):
    previous = union_of([1])
    moves = []
    for name, scale in (("large", 1.0), ("small", 0.1)):
        spec = DcSpec(
            **{**SMALL, "iterations": 1, "outer_loop": 1},
            update_previous=UpdatePreviousSpec(learning_rate_scale=scale),
        )
        outcome = distil(spec, inputs_of(previous=previous), tmp_path / name)
        moves.append(outcome.previous - previous.images)
    assert float(moves[0].abs().max()) > 0
    assert torch.allclose(moves[1], 0.1 * moves[0], atol=1e-6)


def test_a_stopped_stage_continues_as_if_it_had_not_stopped(tmp_path):
    spec = DsaSpec(**{**SMALL, "iterations": 3})
    whole = distil(spec, inputs_of(), tmp_path / "whole")

    class Stopping(Silent):
        def progress(self, fraction, values):
            if fraction > 0.5:
                raise InterruptionError

    with pytest.raises(InterruptionError):
        distil(spec, inputs_of(), tmp_path / "stopped", Stopping())
    assert (tmp_path / "stopped" / PARTIAL_FILE).exists()
    continued = distil(spec, inputs_of(), tmp_path / "stopped")
    assert torch.equal(whole.images, continued.images)
    assert whole.curves == continued.curves


@pytest.mark.parametrize("operation", RULES["dsa"])
def test_one_image_per_class_works_with_every_operation(operation, tmp_path):
    spec = DsaSpec(**{**SMALL, "iterations": 1, "outer_loop": 2}, augmentation=operation)
    outcome = distil(spec, stage_inputs([]), tmp_path)
    assert outcome.images.shape == (len(CLASSES), *SHAPE)
    assert bool(outcome.images.isfinite().all())


def test_a_class_smaller_than_the_real_batch_gives_all_its_images(tmp_path):
    outcomes = [
        distil(DcSpec(**{**SMALL, "real_batch_size": size}), inputs_of(), tmp_path / str(size))
        for size in (PER_CLASS, 256)
    ]
    assert torch.equal(outcomes[0].images, outcomes[1].images)


@pytest.mark.parametrize("statistics", ["batch", "one_momentum_step"])
@pytest.mark.parametrize("sizes", [[], [1]])
def test_batch_norm_uses_statistics_of_real_images(statistics, sizes, tmp_path):
    spec = DcSpec(**SMALL, batch_norm_statistics=statistics)
    previous = union_of(sizes) if sizes else nothing_yet()
    inputs = inputs_of(model=BATCH_NORM, previous=previous)
    outcome = distil(spec, inputs, tmp_path)
    assert bool(outcome.images.isfinite().all())
    assert len(outcome.curves["loss"]) == SMALL["iterations"]


def test_the_rule_of_batch_norm_statistics_changes_the_images(tmp_path):
    images = [
        distil(
            DcSpec(**SMALL, batch_norm_statistics=rule),
            inputs_of(model=BATCH_NORM),
            tmp_path / rule,
        ).images
        for rule in ("batch", "one_momentum_step")
    ]
    assert not torch.allclose(*images)


@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_statistics_move_towards_those_of_the_images_by_the_momentum(momentum):
    model = create_model(BATCH_NORM, SHAPE, len(CLASSES), generator(0, "statistics"))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = momentum
    images = dataset().train_images
    maps = copy.deepcopy(model).features[0](images)
    statistics = batch_norm_statistics(model, images)
    assert [name.split(".")[-1] for name in statistics] == ["running_mean", "running_var"] * 2
    mean, variance = list(statistics.values())[:2]
    assert torch.allclose(mean, momentum * maps.mean((0, 2, 3)), atol=1e-6)
    expected = (1 - momentum) + momentum * maps.var((0, 2, 3))
    assert torch.allclose(variance, expected, atol=1e-6)


def test_divergence_is_an_error_that_names_the_network(tmp_path):
    spec = DcSpec(**{**SMALL, "image_learning_rate": 1e38})
    with pytest.raises(NonFiniteLossError, match="network 1 of stage 1"):
        distil(spec, inputs_of(), tmp_path)


def test_the_global_random_stream_is_not_touched(tmp_path):
    before = torch.get_rng_state()
    distil(DsaSpec(**SMALL), inputs_of(), tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_matching_brings_the_gradients_nearer(tmp_path):
    spec = DcSpec(**{**SMALL, "iterations": 30, "outer_loop": 1, "real_batch_size": 10})
    losses = distil(spec, inputs_of(), tmp_path).curves["loss"]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
