"""Several networks trained at once become what each becomes alone, at the launches of one."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from pdd_ray.configuration.strategies import RULES
from pdd_ray.core.errors import NonFiniteLossError
from pdd_ray.core.seeding import generator
from pdd_ray.models.factory import create_model
from pdd_ray.models.grouped import GroupedNetworks, UngroupableError
from pdd_ray.models.registry import read_network
from pdd_ray.testing.fake_device import DEVICE, Seen, fake_device
from pdd_ray.training.grouped import train_grouped
from pdd_ray.training.loop import Sgd, TrainingState, random_batches, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pdd_ray.training.loop import Batches

NETWORKS, IMAGES, CLASSES = 3, 14, 4
SMALL = {"name": "convnet", "width": 8, "depth": 2}
MODELS: dict[str, dict[str, Any]] = {
    "instance norm": SMALL,
    "batch norm": {**SMALL, "norm": "batch"},
    "layer norm, max pooling": {**SMALL, "norm": "layer", "pooling": "max"},
    "group norm, sigmoid": {**SMALL, "norm": "group", "activation": "sigmoid"},
    "no norm, no pooling": {**SMALL, "norm": "none", "pooling": "none"},
    "linear layers": {"name": "mlp"},
    "lenet": {"name": "lenet"},
    "resnet": {"name": "resnet", "depth": 10, "family": "idc", "norm": "batch"},
}
RECIPES: dict[str, dict[str, Any]] = {
    "none": {"strategy": "none"},
    "dsa": {"strategy": "color_crop_cutout_flip_scale_rotate"},
    "dc": {"strategy": "crop_scale_rotate_noise", "rule": "dc"},
    "idc": {"strategy": "color_crop_cutout_flip_scale_rotate", "rule": "idc", "cutmix": 0.7},
}
FULL = Sgd(momentum=0.9, weight_decay=5e-3, reset_at_drop=True)
RATES = [0.05, 0.05, 0.05, 0.005, 0.005]


def images_of(side: int = 16) -> tuple[Tensor, Tensor]:
    source = generator(0, "images")
    images = torch.randn(IMAGES, 3, side, side, generator=source, dtype=torch.float64)
    return images, torch.randint(CLASSES, (IMAGES,), generator=source)


def start(model: dict[str, Any], network: int, side: int, dtype: torch.dtype) -> TrainingState:
    spec = read_network(model)
    made = create_model(spec, (3, side, side), CLASSES, generator(0, "network", network))
    return TrainingState(made.to(dtype))


def batches_of(images: Tensor, recipe: dict[str, Any], network: int) -> Batches:
    rest = {name: value for name, value in recipe.items() if name != "strategy"}
    return random_batches(images, 5, recipe["strategy"], 0, "network", network, **rest)


def trained(
    model: dict[str, Any],
    recipe: dict[str, Any],
    *,
    together: bool,
    dtype: torch.dtype = torch.float64,
    side: int = 16,
    soft: bool = False,
    stops: Sequence[int] = (len(RATES),),
) -> list[TrainingState]:
    """Train the networks; up to each of ``stops``, from where they were."""
    images, labels = images_of(side)
    images = images.to(dtype)
    targets = torch.softmax(images.flatten(1)[:, :CLASSES], 1) if soft else labels
    states = [start(model, network, side, dtype) for network in range(NETWORKS)]
    batches = [batches_of(images, recipe, network) for network in range(NETWORKS)]
    for epochs in stops:
        if together:
            train_grouped(states, images, targets, RATES[:epochs], batches, FULL)
        else:
            for state, own in zip(states, batches, strict=True):
                train(state, images, targets, RATES[:epochs], own, FULL)
    return states


def assert_equal(one: TrainingState, other: TrainingState, **tolerance: float) -> None:
    assert one.epoch == other.epoch
    expected = other.model.state_dict()
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], **tolerance)
    assert one.buffers is not None
    assert other.buffers is not None
    for buffer, wanted in zip(one.buffers, other.buffers, strict=True):
        torch.testing.assert_close(buffer, wanted, **tolerance)


@pytest.mark.parametrize(
    "model",
    [pytest.param(name, marks=[pytest.mark.slow] if name == "resnet" else []) for name in MODELS],
)
def test_networks_of_every_kind_become_what_they_become_alone(model: str):
    side = 32 if model in ("lenet", "resnet") else 16
    alone = trained(MODELS[model], RECIPES["dsa"], together=False, side=side)
    grouped = trained(MODELS[model], RECIPES["dsa"], together=True, side=side)
    for one, other in zip(grouped, alone, strict=True):
        assert_equal(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("soft", [False, True])
def test_every_recipe_gives_each_network_its_own_draws(recipe: str, soft: bool):
    alone = trained(SMALL, RECIPES[recipe], together=False, soft=soft)
    grouped = trained(SMALL, RECIPES[recipe], together=True, soft=soft)
    for one, other in zip(grouped, alone, strict=True):
        assert_equal(one, other, rtol=1e-9, atol=1e-10)


def test_in_float32_they_agree_to_rounding():
    alone = trained(SMALL, RECIPES["dsa"], together=False, dtype=torch.float32)
    grouped = trained(SMALL, RECIPES["dsa"], together=True, dtype=torch.float32)
    for one, other in zip(grouped, alone, strict=True):
        assert_equal(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_training_goes_on_where_it_was_also_alone(stop: int):
    whole = trained(SMALL, RECIPES["idc"], together=True)
    parts = trained(SMALL, RECIPES["idc"], together=True, stops=(stop, len(RATES)))
    for one, other in zip(parts, whole, strict=True):
        assert_equal(one, other, rtol=0, atol=0)
    begun = trained(SMALL, RECIPES["idc"], together=True, stops=(stop,))[1]
    images, labels = images_of()
    train(begun, images, labels, RATES, batches_of(images, RECIPES["idc"], 1), FULL)
    assert_equal(begun, whole[1], rtol=1e-9, atol=1e-10)


def test_the_networks_follow_without_a_copy_and_go_on_by_themselves():
    states = trained(SMALL, RECIPES["none"], together=True)
    copies = [copy.deepcopy(state.model.state_dict()) for state in states]
    images, labels = images_of()
    train(states[0], images, labels, [*RATES, 0.1], batches_of(images, RECIPES["none"], 0), FULL)
    for state, before in zip(states[1:], copies[1:], strict=True):
        torch.testing.assert_close(state.model.state_dict(), before, rtol=0, atol=0)


def test_a_module_without_a_grouped_form_is_refused():
    spec = read_network({"name": "densenet"})
    models = [create_model(spec, (3, 32, 32), 4, generator(0, n)) for n in range(2)]
    with pytest.raises(UngroupableError, match="no grouped form is known of DenseLayer"):
        GroupedNetworks(models)


def test_layers_that_share_parameters_are_refused():
    layer = nn.Linear(4, 4)
    tied = [nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(4, 2)) for _ in range(2)]
    with pytest.raises(UngroupableError, match="share parameters"):
        GroupedNetworks(tied)


def test_a_loss_that_is_not_finite_in_one_network_ends_the_training():
    images, labels = images_of()
    states = [start(SMALL, network, 16, torch.float64) for network in range(NETWORKS)]
    with torch.no_grad():
        next(states[1].model.parameters()).fill_(float("nan"))
    batches = [batches_of(images, RECIPES["none"], network) for network in range(NETWORKS)]
    with pytest.raises(NonFiniteLossError):
        train_grouped(states, images, labels, RATES, batches, FULL)


def launches(recipe: dict[str, Any], networks: int, epochs: int) -> tuple[int, int]:
    """Return operators, and copies to the device, of a training of networks at once or of one."""
    with fake_device() as seen:
        images, labels = (value.to(DEVICE) for value in images_of())
        states = [start(SMALL, network, 16, torch.float64) for network in range(networks)]
        for state in states:
            state.model.to(DEVICE)
        batches = [batches_of(images, recipe, network) for network in range(networks)]
        before = seen.total_launches, copies(seen)
        rates = [0.01] * epochs
        if networks == 1:
            train(states[0], images, labels, rates, batches[0], FULL)
        else:
            train_grouped(states, images, labels, rates, batches, FULL)
        return seen.total_launches - before[0], copies(seen) - before[1]


def copies(seen: Seen) -> int:
    """Return the copies to the device; losses come back once a second, however long that takes."""
    return sum(count for (_, reason), count in seen.syncs.items() if reason == "copy to the device")


@pytest.mark.parametrize(
    ("recipe", "times"),
    [
        ("none", 1.3),
        pytest.param("dsa", 2.1, marks=pytest.mark.slow),
        pytest.param("dc", 2.7, marks=pytest.mark.slow),
        pytest.param("idc", 1.5, marks=pytest.mark.slow),
    ],
)
def test_five_networks_take_about_the_launches_of_one(recipe: str, times: float):
    """Where each draws another operation (DSA) or mixes by itself (DC), those are launched too."""
    launches(RECIPES[recipe], 1, 1)  # fills what is computed once per process
    one, five = (launches(RECIPES[recipe], networks, 8) for networks in (1, 5))
    assert five[0] < times * one[0]
    assert five[1] == one[1]


def test_on_the_device_they_become_what_they_become_on_the_cpu():
    images, labels = images_of()
    on_cpu = trained(SMALL, RECIPES["dc"], together=True)
    with fake_device():
        states = [start(SMALL, network, 16, torch.float64) for network in range(NETWORKS)]
        for state in states:
            state.model.to(DEVICE)
        there = images.to(DEVICE)
        batches = [batches_of(there, RECIPES["dc"], network) for network in range(NETWORKS)]
        train_grouped(states, there, labels.to(DEVICE), RATES, batches, FULL)
        found = [
            {name: value.cpu() for name, value in state.model.state_dict().items()}
            for state in states
        ]
    for values, expected in zip(found, on_cpu, strict=True):
        torch.testing.assert_close(values, dict(expected.model.state_dict()), rtol=0, atol=0)


def test_the_recipes_here_are_those_that_exist():
    assert {recipe.get("rule", "dsa") for recipe in RECIPES.values()} == set(RULES)
