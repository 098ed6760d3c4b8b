"""Trajectories: snapshots that stay, and are read one by one."""

import json

import pytest
import torch
from safetensors import safe_open

from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.tiny import CLASSES, dataset, experts, new_model
from pdd_ray.training import trajectories
from pdd_ray.training.loop import Sgd, TrainingState, random_batches, train
from pdd_ray.training.trajectories import (
    TRAJECTORY,
    last_network,
    load_parameters,
    open_trajectory,
    save_parameters,
    save_trajectory,
)

MODEL = new_model()
NETWORK = FlatModel(MODEL)
SNAPSHOTS = [torch.full((NETWORK.numel,), float(epoch)) + 1e-4 for epoch in range(4)]


def test_snapshots_are_read_as_they_were(tmp_path):
    save_trajectory(tmp_path, SNAPSHOTS, NETWORK, "float32")
    trajectory = open_trajectory(tmp_path)
    assert trajectory.length == 4
    last, first = trajectory.snapshots(3, 0)
    assert torch.equal(last, SNAPSHOTS[3])
    assert torch.equal(first, SNAPSHOTS[0])


def test_only_the_rows_asked_for_are_read(tmp_path, monkeypatch):
    save_trajectory(tmp_path, SNAPSHOTS, NETWORK, "float32")
    asked = []

    class Rows:
        def __getitem__(self, row):
            asked.append(row)
            return SNAPSHOTS[row]

    class File:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def get_slice(self, name):
            assert name == "snapshots"
            return Rows()

    monkeypatch.setattr(trajectories, "safe_open", lambda *_args, **_options: File())
    open_trajectory(tmp_path).snapshots(1, 3)
    assert asked == [1, 3]


def test_float16_takes_half_the_space_and_is_read_as_float32(tmp_path):
    for storage in ("float16", "float32"):
        save_trajectory(tmp_path / storage, SNAPSHOTS, NETWORK, storage)
    sizes = [(tmp_path / name / TRAJECTORY).stat().st_size for name in ("float16", "float32")]
    assert sizes[0] < 0.6 * sizes[1]
    (row,) = open_trajectory(tmp_path / "float16").snapshots(2)
    assert row.dtype == torch.float32
    torch.testing.assert_close(row, SNAPSHOTS[2], rtol=2**-11, atol=0)  # 11 significant bits


def test_the_file_names_the_parameters(tmp_path):
    save_trajectory(tmp_path, SNAPSHOTS, NETWORK, "float32")
    with safe_open(tmp_path / TRAJECTORY, framework="np") as file:
        layout = json.loads(file.metadata()["pdd"])
    assert layout["names"] == [name for name, _ in MODEL.named_parameters()]
    assert layout["shapes"] == [list(value.shape) for value in MODEL.parameters()]


def test_parameters_are_read_as_they_were(tmp_path):
    save_parameters(tmp_path, SNAPSHOTS[1], NETWORK)
    assert torch.equal(load_parameters(tmp_path), SNAPSHOTS[1])


def test_a_flat_copy_does_not_follow_the_network():
    model = new_model()
    before = NETWORK.flatten(model)
    with torch.no_grad():
        for value in model.parameters():
            value += 1
    assert torch.equal(NETWORK.flatten(model), before + 1)
    assert not torch.equal(NETWORK.flatten(model), before)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_last_network_says_what_the_expert_said(tmp_path, norm):
    spec, data = ConvNetSpec(width=4, depth=2, norm=norm), dataset()
    model = new_model(spec)
    batches = random_batches(data.train_images, 30, "none", 0, "expert")
    rates = [0.1] * 10 + [1e-4] * 80  # slow at last, so that running statistics catch up
    train(TrainingState(model), data.train_images, data.train_labels, rates, batches, Sgd())
    network = FlatModel(model)
    save_trajectory(
        tmp_path, [NETWORK.flatten(new_model()), network.flatten(model)], network, "float32"
    )
    last = last_network(open_trajectory(tmp_path), spec, data.train_images, len(CLASSES))
    assert not last.training
    with torch.no_grad():
        expected, got = (each(data.test_images) for each in (model.eval(), last))
    torch.testing.assert_close(got, expected, rtol=0.01, atol=0.01 if norm == "batch" else 0.0)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_experts_move_in_every_epoch(tmp_path, epoch):
    (expert,) = experts(tmp_path, count=1, epochs=3)
    one, next_one = expert.snapshots(epoch, epoch + 1)
    assert not torch.equal(one, next_one)
