"""The losses of epochs, which wait on a device until they are read."""

import pytest
import torch

from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.training.epoch_losses import EpochLosses


def test_the_first_epoch_whose_loss_is_not_finite_is_named_also_later():
    with fake_device():
        losses = EpochLosses(torch.device(DEVICE))
        for epoch, value in enumerate([1.0, float("inf"), float("nan")], start=1):
            losses.add(
                epoch, [torch.tensor(0.5).to(DEVICE), torch.tensor(value).to(DEVICE)], [3, 1]
            )
        with pytest.raises(NonFiniteLossError, match="the training loss is inf in epoch 2;"):
            float(losses.newest)


def test_the_mean_loss_is_weighted_by_images():
    losses = EpochLosses(torch.device("cpu"))
    losses.add(1, [torch.tensor(2.0), torch.tensor(4.0)], [3, 1])
    assert losses.newest == 2.5
