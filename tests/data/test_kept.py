"""Data sets that a process keeps: read once, on a device only what is used there, few of them."""

import logging

import pytest
import torch

from pdd_ray.data.dataset import HELD_OUT, load_dataset, only_classes
from pdd_ray.data.kept import KeptSets
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.testing.tiny import data_artifact, dataset


def sizes(*splits):
    data = dataset()
    tensors = [value for name, value in data.tensors().items() if name.startswith(splits)]
    if "train" in splits:
        tensors += data.pixels.tensors().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_only_the_splits_that_are_used_go_to_the_device(tmp_path):
    folder = data_artifact(tmp_path)
    with fake_device() as seen:
        loaded = load_dataset(folder, DEVICE, HELD_OUT)
        assert {name: value.device.type for name, value in loaded.tensors().items()} == {
            "train_images": "cpu",
            "train_labels": "cpu",
            "validation_images": DEVICE,
            "validation_labels": DEVICE,
            "test_images": DEVICE,
            "test_labels": DEVICE,
        }
        assert loaded.shape == dataset().shape
        copies = seen.total_syncs
        assert copies == 4
        assert load_dataset(folder, DEVICE, HELD_OUT) is loaded
        assert load_dataset(folder, DEVICE, ["test"]) is loaded
        assert seen.total_syncs == copies


def test_more_splits_join_those_that_are_there(tmp_path):
    folder = data_artifact(tmp_path)
    with fake_device():
        held_out = load_dataset(folder, DEVICE, HELD_OUT)
        whole = load_dataset(folder, DEVICE)
        assert whole.test_images is held_out.test_images
        assert whole.train_images.device.type == DEVICE
        assert whole.pixels.tensors()["mean"].device.type == DEVICE
        assert load_dataset(folder, DEVICE, HELD_OUT) is whole
        assert torch.equal(whole.train_images.cpu(), load_dataset(folder).train_images)
        assert load_dataset(folder).test_images.device.type == "cpu"


def test_the_last_two_are_kept_and_their_bytes_are_counted():
    read = []

    def reader(name):
        def read_it():
            read.append(name)
            return dataset()

        return read_it

    kept = KeptSets(most=2)
    whole = sizes("train", "validation", "test")
    for name in ("a", "b", "a", "c", "a", "b"):
        kept.get(name, reader(name), "cpu", HELD_OUT)
    assert read == ["a", "b", "c", "b"]
    assert kept.nbytes() == {"cpu": 2 * whole}
    with fake_device():
        kept.get("b", reader("b"), DEVICE, HELD_OUT)
        assert kept.nbytes() == {"cpu": 2 * whole, f"{DEVICE}:0": sizes(*HELD_OUT)}
        kept.get("b", reader("b"), DEVICE, ["train"])
        assert kept.nbytes() == {"cpu": 2 * whole, f"{DEVICE}:0": whole}


def test_the_log_says_what_is_kept_when_that_changes(caplog):
    kept = KeptSets()
    with caplog.at_level(logging.INFO, logger="pdd_ray.data.kept"):
        for _ in range(2):
            kept.get("a", dataset, "cpu", HELD_OUT)
    (message,) = caplog.messages
    assert message.startswith("prepared data kept in this process: 1 of at most 2 sets, 0.0 MB")


@pytest.mark.parametrize("splits", [("train",), HELD_OUT])
def test_splits_that_are_not_used_need_not_be_searched_for_classes(splits):
    chosen = only_classes(dataset(), [2, 0], splits).tensors()
    for name, tensor in only_classes(dataset(), [2, 0]).tensors().items():
        assert torch.equal(chosen[name], tensor if name.startswith(splits) else tensor[:0])
