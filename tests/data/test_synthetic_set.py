"""Synthetic sets: unions of stages that are never changed, and their file."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from pdd_ray.core.errors import FormatError
from pdd_ray.data.synthetic_set import SYNTHETIC_SET, load_synthetic_set
from pdd_ray.testing.tiny import CLASSES, SHAPE, nothing_yet, union_of

TENSORS = ("images", "labels", "stage", "step_sizes", "pixels", "soft_labels")


def same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in TENSORS)


def test_a_union_grows_stage_by_stage():
    union = union_of([2, 1])
    assert union.stages == 2
    assert union.stage.tolist() == [1] * 6 + [2] * 3
    assert union.labels.tolist() == [0, 0, 1, 1, 2, 2, 0, 1, 2]
    assert [union.step_size(1), union.step_size(2)] == [0.01, 0.02]
    assert union.images.shape == union.pixels.shape == (9, *SHAPE)
    assert nothing_yet().stages == 0


def test_extending_leaves_the_earlier_union_alone():
    union = union_of([2])
    before = {name: getattr(union, name).clone() for name in TENSORS}
    longer = union.extend(
        *(torch.ones_like(t) for t in (union.images, union.labels)), union.pixels, 1
    )
    longer.images.zero_()
    longer.pixels.zero_()
    assert all(torch.equal(getattr(union, name), before[name]) for name in TENSORS)


def test_a_prefix_is_the_union_that_it_was():
    assert same(union_of([2, 1, 1]).up_to(2), union_of([2, 1]))
    assert same(union_of([2, 1]).up_to(2), union_of([2, 1]))


def test_one_stage_keeps_its_number_and_its_step_size():
    only = union_of([2, 1]).only(2)
    assert only.stage.tolist() == [2, 2, 2]
    assert only.step_size(2) == 0.02
    assert torch.equal(only.images, union_of([2, 1]).images[6:])


def test_attributes_cannot_be_replaced():
    with pytest.raises(FrozenInstanceError):
        union_of([1]).images = torch.zeros(3, *SHAPE)


@pytest.mark.parametrize("name", ["labels", "stage", "pixels", "images"])
def test_wrong_lengths_are_refused(name):
    union = union_of([2])
    with pytest.raises(FormatError, match=r"one label and stage per image, .*: got \d"):
        replace(union, **{name: getattr(union, name)[1:]})


def test_a_saved_set_is_read_as_it_was(tmp_path):
    union = union_of([2, 1])
    union.save(tmp_path)
    read = load_synthetic_set(tmp_path)
    assert same(read, union)
    assert read.images.dtype == torch.float32
    assert read.step_sizes.dtype == torch.float64
    assert (read.classes, read.preparation, read.fingerprint) == (CLASSES, "normalise", "tiny")


def test_a_part_of_a_set_can_be_saved(tmp_path):
    union_of([2, 1]).up_to(1).save(tmp_path)
    assert same(load_synthetic_set(tmp_path), union_of([2]))


def test_two_saves_have_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        union_of([2, 1]).save(tmp_path / name)
    assert (tmp_path / "one" / SYNTHETIC_SET).read_bytes() == (
        tmp_path / "two" / SYNTHETIC_SET
    ).read_bytes()


def test_the_file_is_readable_without_us(tmp_path):
    union = union_of([2])
    union.save(tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / SYNTHETIC_SET)
    assert set(tensors) == set(TENSORS)
    assert torch.equal(tensors["images"], union.images)
    with safe_open(tmp_path / SYNTHETIC_SET, framework="np") as file:
        metadata = file.metadata()
    assert list(metadata) == ["pdd"]
    assert json.loads(metadata["pdd"])["classes"] == list(CLASSES)


def test_another_schema_is_refused(tmp_path):
    union_of([1]).save(tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / SYNTHETIC_SET)
    text = json.dumps({"schema": 99})
    safetensors.torch.save_file(tensors, tmp_path / SYNTHETIC_SET, metadata={"pdd": text})
    with pytest.raises(FormatError, match="schema 99, this version reads 2"):
        load_synthetic_set(tmp_path)


@pytest.mark.parametrize("content", [None, b"no tensors"])
def test_a_missing_or_other_file_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / SYNTHETIC_SET).write_bytes(content)
    with pytest.raises(FormatError, match="is not a safetensors file of pdd-ray"):
        load_synthetic_set(tmp_path)


def test_a_file_of_somebody_else_is_refused(tmp_path):
    safetensors.torch.save_file({"images": torch.zeros(1)}, tmp_path / SYNTHETIC_SET)
    with pytest.raises(FormatError, match="is not a safetensors file of pdd-ray"):
        load_synthetic_set(tmp_path)
