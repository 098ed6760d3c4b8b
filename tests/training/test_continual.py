"""Continual learning: the memory, the loss of protocol B, and trainings phase by phase."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pdd_ray.configuration.continual import ContinualSpec
from pdd_ray.core.seeding import generator
from pdd_ray.core.tensors import load_tensors
from pdd_ray.data.dataset import only_classes, save_dataset
from pdd_ray.data.synthetic_set import empty_set
from pdd_ray.testing.tiny import (
    CLASSES,
    MODEL,
    SHAPE,
    InterruptionError,
    dataset,
    interrupting,
    step_context,
    training_config,
)
from pdd_ray.training.continual import distilling_loss, memory, run
from pdd_ray.training.evaluation import RESULT, TRAINED_NETWORK

ORDER = [[2], [0], [1]]
"""Classes of the three phases."""


def set_of_phase(phase, stages=2, soft=False):
    """Return the set of one class, with one image per stage."""
    (label,) = ORDER[phase - 1]
    union = empty_set(SHAPE, (CLASSES[label],), "normalise", "tiny")
    for stage in range(1, stages + 1):
        source = generator(5, "phase", phase, "stage", stage)
        images = torch.randn(1, *SHAPE, generator=source)
        logits = torch.zeros(1, 1) if soft else None
        labels = torch.zeros(1, dtype=torch.int64)
        union = union.extend(images, labels, images, 0.01, logits)
    return union


@pytest.fixture
def artifacts(tmp_path):
    save_dataset(dataset(), tmp_path / "data")
    folders = {"data": tmp_path / "data"}
    for phase in (1, 2, 3):
        folders[f"memory.{phase}"] = tmp_path / f"memory{phase}"
        folders[f"memory.{phase}"].mkdir()
        set_of_phase(phase).save(folders[f"memory.{phase}"])
    return folders


def learn(folder, artifacts, phase, previous=None, progress=None, progressive=True, **spec):
    changes = {"learning_rate": spec.pop("learning_rate", 0.05)}
    continual = ContinualSpec(phases=3, **changes, **spec)
    config = {
        "training": training_config(epochs=4),
        "model": MODEL.to_json(),
        "network": 0,
        "seed": 0,
        "classes": ORDER,
        "phase": phase,
        "progressive": progressive,
        "carry_momentum": True,
        "continual": continual.to_json(),
    }
    inputs = {"data": artifacts["data"]}
    inputs |= {f"memory.{k}": artifacts[f"memory.{k}"] for k in range(1, phase + 1)}
    inputs |= {"previous": previous} if previous else {}
    options = {"progress": progress, "seconds_between_saves": 0.0} if progress else {}
    run(step_context(folder, config, inputs, **options))
    return folder / "output"


def result_of(output):
    return json.loads((output / RESULT).read_text())


def head_of(output):
    tensors, _ = load_tensors(output / TRAINED_NETWORK)
    (weight,) = [value for value in tensors.values() if value.ndim == 2]
    return weight


def test_the_memory_numbers_classes_over_the_phases():
    images, targets = memory([set_of_phase(1), set_of_phase(2)], outputs=3)
    assert targets.tolist() == [0, 0, 1, 1]
    assert torch.equal(images[:2], set_of_phase(1).images)


def test_soft_labels_are_probabilities_over_all_outputs():
    _, targets = memory([set_of_phase(1, soft=True), set_of_phase(2, soft=True)], outputs=3)
    assert targets.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_the_loss_of_protocol_b_is_that_of_the_original():
    """PyTorch's element-mean KLDivLoss times the number of old classes (specification, 10)."""
    source = generator(2, "loss")
    student = nn.Linear(6, 5).double()
    teacher = nn.Linear(6, 3).double()
    images = torch.randn(4, 6, generator=source, dtype=torch.float64)
    targets = torch.tensor([0, 3, 4, 1])
    found = distilling_loss(teacher, temperature=2.0, weight=0.7)(student, images, targets)
    old = F.log_softmax(student(images)[:, :3] / 2, dim=1)
    known = F.softmax(teacher(images) / 2, dim=1)
    distilled = F.kl_div(old, known, reduction="none").mean() * 3
    expected = F.cross_entropy(student(images), targets) + 4 * 0.7 * distilled
    torch.testing.assert_close(found, expected)


def test_only_the_classes_seen_are_tested_in_their_order(tmp_path, artifacts):
    output = learn(tmp_path / "one", artifacts, phase=2, protocol="A")
    assert result_of(output)["test_images"] == 10
    assert head_of(output).shape[0] == len(CLASSES)
    part = only_classes(dataset(), [2, 0])
    assert part.classes == (CLASSES[2], CLASSES[0])
    whole = dataset()
    assert torch.equal(
        part.test_images[part.test_labels == 0], whole.test_images[whole.test_labels == 2]
    )
    assert len(part.train_labels) == int((whole.train_labels != 1).sum())


def test_a_kept_network_grows_by_the_new_classes_and_keeps_its_rows(tmp_path, artifacts):
    first = learn(tmp_path / "one", artifacts, phase=1, protocol="B")
    tiny = 1e-9  # a learning rate that changes nothing that can be seen
    second = learn(tmp_path / "two", artifacts, 2, previous=first, protocol="B", learning_rate=tiny)
    assert head_of(first).shape[0] == 1
    assert head_of(second).shape[0] == 2
    torch.testing.assert_close(head_of(second)[:1], head_of(first), rtol=0, atol=1e-6)
    third = learn(tmp_path / "three", artifacts, phase=3, previous=second, protocol="B")
    assert head_of(third).shape[0] == 3
    assert result_of(third)["test_images"] == 15


def test_a_fresh_network_does_not_depend_on_the_phase_before(tmp_path, artifacts):
    learn(tmp_path / "one", artifacts, phase=1, protocol="A")
    again = learn(tmp_path / "two", artifacts, phase=2, protocol="A")
    other = learn(tmp_path / "other", artifacts, phase=2, protocol="A", progressive=False)
    assert not torch.equal(head_of(again), head_of(other))


@pytest.mark.parametrize("stop", [2, 7])
def test_an_interrupted_phase_goes_on_with_the_same_bytes(tmp_path, artifacts, stop):
    first = learn(tmp_path / "first", artifacts, phase=1, protocol="B")
    whole = learn(tmp_path / "whole", artifacts, phase=2, previous=first, protocol="B")
    with pytest.raises(InterruptionError):
        learn(tmp_path / "cut", artifacts, 2, first, interrupting(stop), protocol="B")
    cut = learn(tmp_path / "cut", artifacts, phase=2, previous=first, protocol="B")
    assert (cut / TRAINED_NETWORK).read_bytes() == (whole / TRAINED_NETWORK).read_bytes()
    assert result_of(cut) == result_of(whole)


def test_what_was_learned_of_a_phase_before_an_interruption_is_not_learned_again(
    tmp_path, artifacts
):
    told = []
    learn(tmp_path / "whole", artifacts, 2, progress=lambda seen: told.append(seen["fraction"]))
    assert told[-1] == 1
    stop = len(told) // 2 + 2  # in the second of its two trainings
    with pytest.raises(InterruptionError):
        learn(tmp_path / "cut", artifacts, 2, progress=interrupting(stop))
    again = []
    learn(tmp_path / "cut", artifacts, 2, progress=lambda seen: again.append(seen["fraction"]))
    assert again == told[stop - 1 :]
