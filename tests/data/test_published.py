"""CIFAR, MNIST and Fashion-MNIST: what is known of them, and that unknown files are not read."""

from __future__ import annotations

import hashlib
import pickle
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torchvision import datasets

from pdd_ray.core.errors import DataError
from pdd_ray.core.steps import execute
from pdd_ray.data.dataset import load_dataset
from pdd_ray.data.facts import read_facts
from pdd_ray.data.source_registry import SOURCES
from pdd_ray.data.sources.cifar import CIFAR10, CIFAR100, Cifar10
from pdd_ray.data.sources.mnist import FASHION_MNIST, MNIST, Mnist
from pdd_ray.data.spec import DataSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Store
    from pdd_ray.data import published

    Plan = Callable[[DataSpec], tuple[Step, Store]]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


PUBLISHED = {data.source: data for data in (CIFAR10, CIFAR100, MNIST, FASHION_MNIST)}


@pytest.mark.parametrize(
    ("data", "dataset"), [(CIFAR10, datasets.CIFAR10), (CIFAR100, datasets.CIFAR100)]
)
def test_md5s_of_cifar_are_those_of_torchvision(data: published.Published, dataset: type) -> None:
    lists = [*dataset.train_list, *dataset.test_list]
    lists.append([dataset.meta["filename"], dataset.meta["md5"]])
    assert data.files == {f"{dataset.base_folder}/{name}": value for name, value in lists}


@pytest.mark.parametrize("data", [MNIST, FASHION_MNIST], ids=lambda data: data.source)
def test_files_of_mnist_are_those_that_torchvision_unpacks(data: published.Published) -> None:
    dataset = getattr(datasets, SOURCES[data.source].torchvision_class)
    names = [f"{dataset.__name__}/raw/{name.removesuffix('.gz')}" for name, _ in dataset.resources]
    assert list(data.files) == names


def test_class_names_are_those_of_torchvision() -> None:
    assert FASHION_MNIST.classes == tuple(datasets.FashionMNIST.classes)
    assert [name[0] for name in datasets.MNIST.classes] == list(MNIST.classes)


@pytest.mark.parametrize("data", PUBLISHED.values(), ids=lambda data: data.source)
def test_counts_are_those_of_the_papers(data: published.Published) -> None:
    train = 50_000 if data.source.startswith("cifar") else 60_000
    assert sum(data.train_counts) == train
    assert sum(data.test_counts) == 10_000
    assert len(data.classes) == len(data.train_counts) == len(data.test_counts)
    assert len(set(data.classes)) == len(data.classes)


@pytest.mark.parametrize("source", PUBLISHED)
def test_missing_files_are_named_with_layout_md5_and_download(
    tmp_path: Path, cache: Path, source: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_facts(DataSpec(source=source, root=tmp_path), cache)
    text = str(caught.value)
    assert "data.download: true" in text
    for name, value in PUBLISHED[source].files.items():
        assert f"{name} (MD5 {value})" in text


@pytest.mark.parametrize("source", PUBLISHED)
def test_facts_are_known_before_the_download(tmp_path: Path, cache: Path, source: str) -> None:
    facts = read_facts(DataSpec(source=source, root=tmp_path, download=True), cache)
    assert facts.shape == PUBLISHED[source].shape
    assert facts.fingerprint == PUBLISHED[source].content.fingerprint


def test_a_file_with_another_content_is_named_and_never_unpickled(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CIFAR10.files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"something else")

    def fail(*_arguments: object, **_options: object) -> None:
        pytest.fail("a file was unpickled")

    monkeypatch.setattr(pickle, "load", fail)
    spec = DataSpec(source="cifar10", root=tmp_path)
    for read in (lambda: read_facts(spec, cache), lambda: spec.open().read()):
        with pytest.raises(DataError, match=r"data_batch_1 has MD5 .* instead of c99cafc1522"):
            read()


def test_a_failed_download_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        msg = "no network"
        raise OSError(msg)

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    spec = DataSpec(source="cifar10", root=tmp_path, download=True)
    with pytest.raises(DataError, match=r"can't be downloaded .*no network"):
        spec.open().read()


def write_small_cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write CIFAR-10 with one test image and two training images per class; return the tests."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, 3072), dtype=np.uint8)
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = [name.split("/")[1] for name in CIFAR10.files]
    for name, rows in zip(
        names, [range(0), range(0), range(0), range(5), range(5, 20), range(20, 30)], strict=False
    ):
        values = {"data": pixels[list(rows)], "labels": [row % 10 for row in rows]}
        (folder / name).write_bytes(pickle.dumps(values))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    known = {name: md5(root / name) for name in CIFAR10.files}
    small = replace(CIFAR10, files=known, train_counts=(2,) * 10, test_counts=(1,) * 10)
    monkeypatch.setattr(Cifar10, "published", small)
    batches = [[name, known[f"cifar-10-batches-py/{name}"]] for name in names]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", batches[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", batches[5:6])
    meta = {**datasets.CIFAR10.meta, "md5": batches[6][1]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return pixels[20:]


def test_cifar_is_read_end_to_end(
    tmp_path: Path, data_step: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = write_small_cifar(tmp_path, monkeypatch)
    step, store = data_step(DataSpec(source="cifar10", root=tmp_path, preprocessing="none"))
    execute(step.call, store)
    dataset = load_dataset(store.folder(step.key))
    assert dataset.classes[0] == "airplane"
    assert dataset.test_labels.tolist() == list(range(10))
    expected = torch.from_numpy(pixels.reshape(10, 3, 32, 32)).float() / 255
    torch.testing.assert_close(dataset.test_images, expected)
    assert len(dataset.validation_labels) == 10


def write_small_mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write MNIST with one test image and two training images per class; return the tests."""
    rng = np.random.default_rng(0)
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = {"train": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8)}
    pixels["t10k"] = rng.integers(0, 256, (10, 28, 28), dtype=np.uint8)
    for name, images in pixels.items():
        count = len(images)
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = bytes(index % 10 for index in range(count))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, count) + labels
        )
    known = {name: md5(root / name) for name in MNIST.files}
    small = replace(MNIST, files=known, train_counts=(2,) * 10, test_counts=(1,) * 10)
    monkeypatch.setattr(Mnist, "published", small)
    return pixels["t10k"]


def test_mnist_is_read_end_to_end(
    tmp_path: Path, data_step: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = write_small_mnist(tmp_path, monkeypatch)
    step, store = data_step(DataSpec(source="mnist", root=tmp_path, preprocessing="none"))
    execute(step.call, store)
    dataset = load_dataset(store.folder(step.key))
    assert dataset.test_labels.tolist() == list(range(10))
    torch.testing.assert_close(dataset.test_images[:, 0], torch.from_numpy(pixels).float() / 255)


def test_mnist_is_read_as_torchvision_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_mnist(tmp_path, monkeypatch)
    train, _ = DataSpec(source="mnist", root=tmp_path).open().read()
    (chunk,) = train.chunks
    theirs = datasets.MNIST(tmp_path, train=True)
    np.testing.assert_array_equal(chunk[..., 0], theirs.data.numpy())
    np.testing.assert_array_equal(train.labels, theirs.targets.numpy())


def test_counts_other_than_known_are_refused(
    tmp_path: Path, data_step: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_mnist(tmp_path, monkeypatch)
    wrong = replace(Mnist.published, train_counts=(3,) * 10)
    monkeypatch.setattr(Mnist, "published", wrong)
    step, store = data_step(DataSpec(source="mnist", root=tmp_path))
    with pytest.raises(DataError, match=r"\[2, 2, .* training images per class instead of \[3,"):
        execute(step.call, store)
