"""Copies between the CPU and a device: together, and with the same values."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pdd_ray.core.transfers import FetchTimes, fetched, host_bytes, moved, moved_network
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.testing.tiny import SHAPE, new_model


@dataclass(frozen=True)
class Draws:
    name: str
    numbers: dict[str, Tensor]
    others: tuple[Tensor, ...] = ()


VALUES = [
    Draws("a", {"x": torch.arange(3), "flag": torch.tensor([True, False])}),
    Draws("b", {"y": torch.rand(2, 3, dtype=torch.float64)}, (torch.tensor(7), torch.empty(0, 4))),
    (5, torch.rand(3, 4).T),
]


def tensors_of(values):
    first, second, (_, last) = values
    return [*first.numbers.values(), *second.numbers.values(), *second.others, last]


def test_all_tensors_arrive_in_one_copy():
    with fake_device() as seen:
        there = moved(VALUES, DEVICE)
        assert seen.total_syncs == 1  # from ordinary memory: this device has no pinned one
        assert all(tensor.device.type == DEVICE for tensor in tensors_of(there))
        back = [tensor.cpu() for tensor in tensors_of(there)]
    for got, sent in zip(back, tensors_of(VALUES), strict=True):
        assert torch.equal(got, sent)
        assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
    assert [there[0].name, there[1].name, there[2][0]] == ["a", "b", 5]


def test_what_is_there_already_is_not_copied():
    with fake_device() as seen:
        there = moved(VALUES, DEVICE)
        before = seen.total_syncs
        assert moved(there, DEVICE) is there
        assert seen.total_syncs == before


def test_on_the_cpu_nothing_is_copied():
    assert moved(VALUES, "cpu") is VALUES
    assert host_bytes(VALUES) == 3 * 8 + 2 + 6 * 8 + 8 + 12 * 4


def test_a_network_arrives_in_one_copy_and_can_be_trained():
    spec = ConvNetSpec(width=4, depth=1, norm="batch")
    with fake_device() as seen:
        network = moved_network(new_model(spec), DEVICE).train()
        assert seen.total_syncs == 1
        loss = network(torch.randn(3, *SHAPE).to(DEVICE)).sum()
        loss.backward()  # after batch norm has changed its statistics
        for (name, there), sent in zip(
            network.named_parameters(), new_model(spec).parameters(), strict=True
        ):
            assert there.requires_grad, name
            assert torch.equal(there.detach().cpu(), sent)
        assert network.features[1].num_batches_tracked.cpu() == 1
    on_cpu = new_model(spec)
    assert moved_network(on_cpu, "cpu") is on_cpu


def test_numbers_come_back_with_one_wait():
    with fake_device() as seen:
        values = [
            torch.tensor(0.1).to(DEVICE),
            3,
            torch.tensor(2.5, dtype=torch.float64).to(DEVICE),
        ]
        before = seen.total_syncs
        assert fetched(values) == [float(torch.tensor(0.1)), 3.0, 2.5]
        assert seen.total_syncs == before + 1
    assert fetched([1, 2.5]) == [1.0, 2.5]


def test_on_a_device_values_wait_for_a_second_or_until_there_are_many():
    assert FetchTimes("cpu", seconds=3600.0).due(1)
    seldom = FetchTimes("cuda", seconds=3600.0, most=3)
    assert [seldom.due(waiting) for waiting in (0, 1, 2, 3)] == [False, False, False, True]
    assert FetchTimes("cuda", seconds=0.0).due(1)
    assert not FetchTimes("cuda", seconds=0.0).due(0)
