"""Batches that are drawn and copied before they are needed are the same batches."""

from dataclasses import fields

import pytest
import torch

from pdd_ray.configuration.training import FULL_DSA
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.testing.tiny import labelled_images
from pdd_ray.training import ahead
from pdd_ray.training.ahead import epochs_on
from pdd_ray.training.augmentation.mixture import Mixture
from pdd_ray.training.loop import random_batches

IMAGES, _ = labelled_images(5, "training")
STRATEGIES = {"dsa": FULL_DSA, "idc": FULL_DSA, "dc": "crop_scale_rotate_noise"}


def batches(rule):
    return random_batches(IMAGES, 4, STRATEGIES[rule], 0, "test", rule=rule, cutmix=0.5)


def results(images, rule):
    """Return the augmented, mixed images of each batch by epoch, on the CPU."""
    found = {}
    for epoch, steps in epochs_on(images, batches(rule), range(3, 6)):
        found[epoch] = [
            mixed(batch, batch.augmentation.apply(images[batch.indices])).cpu() for batch in steps
        ]
    return found


def mixed(batch, images):
    return images if batch.cutmix is None else batch.cutmix.apply(images)


@pytest.mark.parametrize("steps", [1, 5, 64])
@pytest.mark.parametrize("rule", STRATEGIES)
def test_a_device_gets_the_batches_of_the_cpu(rule, steps, monkeypatch):
    monkeypatch.setattr(ahead, "STEPS", steps)
    expected = results(IMAGES, rule)
    with fake_device() as seen:
        images = IMAGES.to(DEVICE)
        before = seen.syncs_at("transfers.py")
        got = results(images, rule)
        copies = -(-12 // steps)  # three epochs of four batches
        assert seen.syncs_at("transfers.py") - before <= copies + 1
    assert list(got) == list(expected) == [3, 4, 5]
    for epoch, images_of_epoch in expected.items():
        assert len(images_of_epoch) == 4
        assert all(map(torch.equal, got[epoch], images_of_epoch))


def test_fewer_steps_travel_together_if_their_draws_are_large(monkeypatch):
    monkeypatch.setattr(ahead, "BYTES", 1)
    drawn = []

    def recorded(epoch):
        for batch in batches("dsa")(epoch):
            drawn.append(epoch)
            yield batch

    with fake_device():
        _, steps = next(epochs_on(IMAGES.to(DEVICE), recorded, range(2)))
        next(steps)
    assert drawn == [0]


def test_what_needs_no_pixels_is_computed_on_the_cpu():
    batch = next(iter(batches("dc")(0)))
    ready = batch.augmentation.ready_for((4, *IMAGES.shape[1:]), IMAGES.dtype)
    (mixture,) = ready.draws
    assert isinstance(mixture, Mixture)
    assert {field.name for field in fields(mixture)} >= {"reading", "turned", "noise"}
    images = IMAGES[batch.indices]
    assert torch.equal(ready.apply(images), batch.augmentation.apply(images))
