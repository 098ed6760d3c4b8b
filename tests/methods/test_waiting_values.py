"""Values that wait on a device: read together, told in order, and never saved if not finite."""

import math
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch

from pdd_ray.configuration.method_registry import read_method
from pdd_ray.core import transfers
from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.methods.base import Partial
from pdd_ray.methods.drawn_networks import PARTIAL_FILE, distill_by_draws
from pdd_ray.methods.stage import create_method
from pdd_ray.methods.waiting_values import WaitingValues
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.testing.tiny import SHAPE, Silent, dataset, experts, stage_inputs


def test_values_of_several_updates_are_read_together_and_in_order():
    with fake_device() as seen, patch.object(transfers, "SECONDS_BETWEEN_FETCHES", math.inf):
        waiting = WaitingValues(DEVICE)
        for iteration in (1, 2, 3):
            waiting.add(iteration, {"loss": torch.tensor(iteration / 2).to(DEVICE), "updates": 4})
        assert not waiting.due
        before = seen.total_syncs
        assert waiting.read() == [(n, {"loss": n / 2, "updates": 4}) for n in (1, 2, 3)]
        assert seen.total_syncs == before + 1
        assert waiting.read() == []


def test_on_the_cpu_it_is_always_time():
    waiting = WaitingValues("cpu")
    assert not waiting.due
    waiting.add(1, {"loss": torch.tensor(0.5)})
    assert waiting.due


def diverging(folder, seconds, at=13, draws=100):
    """Return the error of draws of which number ``at`` has no finite loss, and who was told."""
    observer = Silent()
    inputs = replace(stage_inputs([]), device=DEVICE)

    def use(state):
        loss = math.nan if state.draw + 1 == at else 1.0
        return {"loss": torch.tensor(loss).to(DEVICE)}

    partial = Partial(folder, seconds_between_saves=seconds)
    first = torch.zeros(3, *SHAPE).to(DEVICE)
    with pytest.raises(NonFiniteLossError) as error:
        distill_by_draws(draws, first, use, inputs, partial, observer)
    return str(error.value), observer.iterations


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_the_first_network_without_a_finite_loss_is_named(tmp_path, seconds):
    with fake_device(), patch.object(transfers, "SECONDS_BETWEEN_FETCHES", math.inf):
        message, told = diverging(tmp_path, seconds)
    assert "diverged with network 13 of stage 1: loss nan" in message
    assert told == list(range(1, 13))
    assert (tmp_path / PARTIAL_FILE).exists() == (seconds == 0.0)


SWISH = {
    "dm": {"real_batch_size": 6},
    "dc": {"real_batch_size": 6, "outer_loop": 1, "inner_loop": 0},
    "mtt": {
        "inner_steps": 2,
        "expert_epochs": 1,
        "max_start_epoch": 2,
        "image_learning_rate": 10.0,
        "selection": {"every": 9, "networks": 1, "epochs": 1},
    },
}


@pytest.mark.parametrize("name", SWISH)
def test_swish_networks_differ_from_the_cpu_by_rounding(name, tmp_path):
    """Torch writes the derivatives of swish out on devices that it does not know."""
    model = ConvNetSpec(width=4, depth=2, activation="swish")
    spec = read_method({"name": name, "iterations": 2, **SWISH[name]})
    # parameters are those of a network with another activation, which is all the same here
    inputs = stage_inputs(experts(tmp_path / "experts", count=1), model=model)
    on_cpu = create_method(spec).distill(inputs, Partial(tmp_path / "cpu"), Silent())
    with fake_device():
        moved = replace(inputs, dataset=dataset().to(DEVICE), device=DEVICE)
        on_device = create_method(spec).distill(moved, Partial(tmp_path / "device"), Silent())
    torch.testing.assert_close(on_device.images, on_cpu.images, rtol=0, atol=4e-6)
