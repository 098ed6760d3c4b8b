"""Training inside a step: what it reports, saves and continues."""

from dataclasses import replace

import pytest
import torch

from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.core.tensors import load_tensors
from pdd_ray.models.flat import FlatModel
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.testing.tiny import (
    InterruptionError,
    interrupting,
    labelled_images,
    new_model,
    step_context,
)
from pdd_ray.training.loop import Sgd, TrainingState, random_batches, train
from pdd_ray.training.resumable import Part, Training, progress_path, train_resumably

IMAGES, LABELS = labelled_images(5, "training")
RATES = [0.05, 0.05, 0.02]


class Epochs:
    """Records which epochs were done."""

    def __init__(self):
        self.seen = []

    def after_epoch(self, epoch):
        self.seen.append(epoch)

    def tensors(self):
        return {"epochs": torch.tensor(self.seen)}

    def restore(self, tensors):
        self.seen = tensors["epochs"].tolist()


def training_of(part=0):
    batches = random_batches(IMAGES, 4, "none", 0, "part", part)
    return Training(IMAGES, LABELS, RATES, batches, Sgd(0.9, 5e-4))


def expected(parts=1):
    state = TrainingState(new_model())
    for part in range(parts):
        state.epoch = 0
        plain = training_of(part)
        train(state, IMAGES, LABELS, RATES, plain.batches, plain.sgd)
    return FlatModel(state.model).flatten(state.model)


def trained(context, parts=1, recorder=None):
    state = TrainingState(new_model())
    for number in range(parts):
        state.epoch = 0
        part = Part(number, parts)
        train_resumably(context, state, training_of(number), recorder=recorder, part=part)
    return FlatModel(state.model).flatten(state.model)


def test_an_uninterrupted_training_is_the_plain_loop_and_saves_nothing(tmp_path):
    told = []
    context = step_context(tmp_path, {}, {}, told.append)
    assert torch.equal(trained(context), expected())
    assert [progress["fraction"] for progress in told] == pytest.approx([1 / 3, 2 / 3, 1])
    assert all(set(progress) == {"fraction", "loss"} for progress in told)
    assert not list(context.partial.iterdir())


@pytest.mark.parametrize("killed", [1, 2, 3])
def test_a_killed_training_goes_on_after_the_last_saved_epoch(tmp_path, killed):
    with pytest.raises(InterruptionError):
        trained(step_context(tmp_path, {}, {}, interrupting(killed), 0.0), recorder=Epochs())
    recorder, told = Epochs(), []
    again = trained(step_context(tmp_path, {}, {}, told.append, 0.0), recorder=recorder)
    assert torch.equal(again, expected())
    assert len(told) == 4 - killed
    assert recorder.seen == [1, 2, 3]


def test_records_are_in_the_file_of_the_state(tmp_path):
    context = step_context(tmp_path, {}, {}, seconds_between_saves=0.0)
    trained(context, recorder=Epochs())
    tensors, facts = load_tensors(progress_path(context))
    assert facts == {"epoch": 3}
    assert tensors["recorded.epochs"].tolist() == [1, 2, 3]


def test_parts_that_are_done_are_neither_trained_nor_written_again(tmp_path):
    killed = step_context(tmp_path, {}, {}, interrupting(5))
    with pytest.raises(InterruptionError):
        trained(killed, parts=2)
    first, second = (progress_path(killed, Part(number, 2)) for number in (0, 1))
    assert first.exists()
    assert not second.exists()  # twenty seconds had not passed
    written = first.stat()
    told = []
    again = trained(step_context(tmp_path, {}, {}, told.append), parts=2)
    assert torch.equal(again, expected(parts=2))
    assert [progress["fraction"] for progress in told] == pytest.approx([4 / 6, 5 / 6, 1])
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == (written.st_mtime_ns, written.st_ino)


@pytest.mark.parametrize("killed", [1, 3])
def test_a_training_killed_on_a_device_goes_on_to_the_bytes_of_the_cpu(tmp_path, killed):
    def on_device(context):
        state = TrainingState(new_model().to(DEVICE))
        plain = training_of()
        moved = replace(plain, images=IMAGES.to(DEVICE), targets=LABELS.to(DEVICE))
        train_resumably(context, state, moved, recorder=Epochs())
        return FlatModel(state.model).flatten(state.model).cpu()

    with fake_device():
        with pytest.raises(InterruptionError):
            on_device(step_context(tmp_path, {}, {}, interrupting(killed), 0.0))
        told = []
        again = on_device(step_context(tmp_path, {}, {}, told.append, 0.0))
    assert torch.equal(again, expected())
    assert len(told) == 4 - killed


def test_a_loss_that_is_not_finite_is_never_saved(tmp_path):
    with fake_device():
        state = TrainingState(new_model().to(DEVICE))
        rates = [1e-3] + [1e30] * 40
        training = replace(
            training_of(), images=IMAGES.to(DEVICE), targets=LABELS.to(DEVICE), learning_rates=rates
        )
        context = step_context(tmp_path, {}, {}, seconds_between_saves=0.0)
        with pytest.raises(NonFiniteLossError, match=r"loss is (nan|inf) in epoch [2-9];"):
            train_resumably(context, state, training)
    saved, _ = load_tensors(progress_path(context))
    assert all(value.isfinite().all() for value in saved.values())
