"""The training loop: its schedule, its optimiser's state, its random streams."""

import math
import shutil
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from pdd_ray.configuration.training import FULL_DSA
from pdd_ray.core import transfers
from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.models.compiled import compiled_loss, functional_loss, state_of
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.models.networks.resnet import ResNetSpec
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.testing.tiny import CLASSES, labelled_images, new_model
from pdd_ray.training.loop import (
    Batch,
    PeriodicSave,
    Sgd,
    TrainingState,
    accuracy,
    mean_cross_entropy,
    random_batches,
    reference_learning_rates,
    train,
)

IMAGES, LABELS = labelled_images(5, "training")
MOMENTUM = Sgd(momentum=0.9, weight_decay=5e-4)


def batches(seed=0, strategy=FULL_DSA, size=4):
    return random_batches(IMAGES, size, strategy, seed, "test")


def trained(rates, sgd=MOMENTUM, state=None, **options):
    state = state or TrainingState(new_model())
    return train(state, IMAGES, LABELS, rates, batches(**options), sgd)


def flat(state):
    return torch.cat([value.detach().reshape(-1) for value in state.model.state_dict().values()])


@pytest.mark.parametrize(
    ("epochs", "at_full_rate", "passes"), [(1000, 502, 1001), (500, 252, 501), (333, 168, 334)]
)
def test_the_rate_drops_after_pass_e_half_plus_1_of_e_plus_1(epochs, at_full_rate, passes):
    rates = reference_learning_rates(0.3, epochs)
    assert len(rates) == passes
    assert rates[:at_full_rate] == [0.3] * at_full_rate
    assert rates[at_full_rate:] == [pytest.approx(0.03)] * (passes - at_full_rate)


@pytest.mark.parametrize("epochs", [1, 2])
def test_very_short_trainings_do_not_reach_the_drop(epochs):
    assert reference_learning_rates(0.3, epochs) == [0.3] * (epochs + 1)


def test_training_is_the_one_of_plain_torch():
    rates = [0.05, 0.05, 0.005]
    model = new_model()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch, rate in enumerate(rates):
        optimiser.param_groups[0]["lr"] = rate
        for batch in batches(strategy="none")(epoch):
            indices = batch.indices
            optimiser.zero_grad()
            F.cross_entropy(model(IMAGES[indices]), LABELS[indices]).backward()
            optimiser.step()
    got = flat(trained(rates, strategy="none"))
    assert torch.equal(got, flat(TrainingState(model)))


def test_momentum_is_kept_or_reset_at_the_drop():
    rates = [0.05, 0.05, 0.005]
    kept = trained(rates)
    reset = trained(rates, Sgd(0.9, 5e-4, reset_at_drop=True))
    by_hand = trained(rates[:2])
    by_hand.buffers = None
    assert torch.equal(flat(reset), flat(trained(rates, state=by_hand)))
    assert not torch.equal(flat(reset), flat(kept))


def test_given_buffers_are_carried_on():
    first = trained([0.05] * 2)
    carried = TrainingState(first.model, first.buffers)
    momentum = [value.clone() for value in first.buffers]
    before = flat(first).clone()
    train(carried, IMAGES, LABELS, [0.05], lambda _epoch: [Batch(torch.arange(4))], MOMENTUM)
    model = new_model()
    model.load_state_dict(_unflatten(model, before))
    loss = F.cross_entropy(model(IMAGES[:4]), LABELS[:4])
    expected = []
    for value, old, gradient in zip(
        model.parameters(),
        momentum,
        torch.autograd.grad(loss, list(model.parameters())),
        strict=True,
    ):
        expected.append((value - 0.05 * (0.9 * old + gradient + 5e-4 * value)).reshape(-1))
    # two ways of adding up the same float32 terms
    torch.testing.assert_close(flat(carried), torch.cat(expected).detach(), rtol=1e-5, atol=1e-6)


def test_there_are_no_buffers_without_momentum():
    assert trained([0.05], Sgd()).buffers is None


@pytest.mark.parametrize("sgd", [MOMENTUM, Sgd(), Sgd(0.9, reset_at_drop=True)])
def test_six_epochs_are_three_and_saving_and_three_more(tmp_path, sgd):
    rates = [0.05] * 3 + [0.005] * 3
    whole = trained(rates, sgd)
    half = trained(rates[:3], sgd)
    half.save(tmp_path / "state")
    resumed = TrainingState(new_model(name="another"))
    resumed.load(tmp_path / "state")
    assert resumed.epoch == 3
    trained(rates, sgd, resumed)
    assert torch.equal(flat(resumed), flat(whole))
    assert (resumed.buffers is None) == (whole.buffers is None)
    for got, expected in zip(resumed.buffers or [], whole.buffers or [], strict=True):
        assert torch.equal(got, expected)


def test_running_statistics_are_part_of_the_state(tmp_path):
    spec = ConvNetSpec(width=4, depth=1, norm="batch")
    state = trained([0.05], state=TrainingState(new_model(spec)))
    state.save(tmp_path / "state")
    resumed = TrainingState(new_model(spec, "another"))
    resumed.load(tmp_path / "state")
    assert resumed.model.features[1].num_batches_tracked == 4
    assert torch.equal(flat(resumed), flat(state))


def test_the_mean_loss_is_weighted_by_images():
    losses = []
    state = TrainingState(new_model())
    with torch.no_grad():
        each = F.cross_entropy(state.model(IMAGES), LABELS, reduction="none")
    train(
        state,
        IMAGES,
        LABELS,
        [1e-12],
        batches(strategy="none"),  # 15 images: batches of 4, 4, 4 and 3
        Sgd(),
        after_epoch=lambda epoch, loss: losses.append((epoch, loss)),
    )
    assert losses == [(1, pytest.approx(float(each.mean()), rel=1e-5))]


def test_a_loss_that_is_not_finite_is_raised_with_its_epoch():
    with pytest.raises(NonFiniteLossError, match=r"loss is (nan|inf) in epoch [2-9];"):
        trained([1e-3] + [1e30] * 8, Sgd())


def test_on_a_device_the_first_epoch_that_diverged_is_named_later():
    rates = [1e-3] + [1e30] * 20
    with pytest.raises(NonFiniteLossError) as on_cpu:
        trained(rates, Sgd())
    with fake_device(), patch.object(transfers, "SECONDS_BETWEEN_FETCHES", math.inf):
        state = TrainingState(new_model().to(DEVICE))
        with pytest.raises(NonFiniteLossError) as later:
            train(state, IMAGES.to(DEVICE), LABELS.to(DEVICE), rates, batches(), Sgd())
    assert str(later.value) == str(on_cpu.value)
    assert state.epoch == len(rates)  # it was found at the end


def test_the_global_generator_is_not_touched():
    before = torch.get_rng_state()
    trained([0.05])
    assert torch.equal(before, torch.get_rng_state())


def test_every_epoch_has_its_own_stream_and_sees_each_image_once():
    chosen = batches()
    first, second = (torch.cat([batch.indices for batch in chosen(epoch)]) for epoch in (0, 1))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(15))
    assert first.tolist() != second.tolist()
    again = torch.cat([batch.indices for batch in batches()(1)])
    assert torch.equal(again, second)
    assert not torch.equal(torch.cat([batch.indices for batch in batches(seed=1)(1)]), second)


def test_accuracy_is_the_share_of_right_answers_and_leaves_the_mode():
    class Answers(torch.nn.Module):
        def forward(self, images):
            assert not self.training
            return F.one_hot(images.flatten().long(), 3).float()

    truth = torch.arange(3).repeat(300)
    wrong = truth.clone()
    wrong[:90] = (truth[:90] + 1) % 3
    model = Answers()
    assert accuracy(model, wrong.float().view(-1, 1, 1, 1), truth) == 0.9
    assert model.training


def test_evaluation_mode_is_used_for_batch_normalisation():
    model = new_model(ResNetSpec(depth=10, family="idc", norm="batch"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    accuracy(model, IMAGES, LABELS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_saving_happens_when_enough_time_has_passed():
    saved = []
    seldom = PeriodicSave(lambda: saved.append("seldom"), seconds=3600.0)
    always = PeriodicSave(lambda: saved.append("always"), seconds=0.0)
    for save in (seldom, always, seldom, always):
        save()
    assert saved == ["always", "always"]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_functional_loss_trains_to_the_same_bytes(norm):
    spec = ConvNetSpec(width=4, depth=1, norm=norm)
    functional = functional_loss(spec, tuple(IMAGES.shape[1:]), len(CLASSES))
    called, given = (TrainingState(new_model(spec)) for _ in range(2))
    train(called, IMAGES, LABELS, [0.05] * 2, batches(), MOMENTUM)
    train(
        given,
        IMAGES,
        LABELS,
        [0.05] * 2,
        batches(),
        MOMENTUM,
        loss_of=lambda model, images, labels: functional(state_of(model), images, labels),
    )
    expected = called.model.state_dict()
    for name, value in given.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_compiled_loss_is_the_eager_one_up_to_rounding(norm):
    spec = ConvNetSpec(width=4, depth=1, norm=norm)
    fast = compiled_loss(spec, tuple(IMAGES.shape[1:]), len(CLASSES), 4)
    states = [TrainingState(new_model(spec)) for _ in range(2)]
    losses = []
    for state, loss_of in zip(states, (mean_cross_entropy, fast), strict=True):
        train(
            state,
            IMAGES,
            LABELS,
            [0.05] * 2,
            batches(strategy="none"),
            Sgd(),
            loss_of=loss_of,
            after_epoch=lambda _epoch, loss: losses.append(loss),
        )
    # float32: 1e-7 per operation, amplified by 8 steps of training
    expected = states[0].model.state_dict()
    for name, value in states[1].model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    assert losses[2:] == [pytest.approx(loss, rel=1e-4) for loss in losses[:2]]
    assert math.isfinite(losses[0])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_networks_of_one_structure_share_what_is_compiled():
    spec = ConvNetSpec(width=4, depth=1)
    fast = compiled_loss(spec, tuple(IMAGES.shape[1:]), len(CLASSES), 4)
    torch._dynamo.utils.counters.clear()
    for name in ("one", "two", "three"):
        model = new_model(spec, name)
        expected = mean_cross_entropy(model, IMAGES[:4], LABELS[:4])
        torch.testing.assert_close(fast(model, IMAGES[:4], LABELS[:4]), expected)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 1


def _unflatten(model, values):
    state = model.state_dict()
    sizes = [value.numel() for value in state.values()]
    pieces = values.split(sizes)
    return {name: piece.view_as(state[name]) for name, piece in zip(state, pieces, strict=True)}
