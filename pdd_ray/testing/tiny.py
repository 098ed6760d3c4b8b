"""A tiny data set, its experts, and what a step is given: for tests of everything that trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdd_ray.configuration.training import SyntheticTrainingSpec
from pdd_ray.core.seeding import generator
from pdd_ray.core.steps import SECONDS_BETWEEN_SAVES, OnProgress, StepContext, no_progress
from pdd_ray.data.dataset import Dataset, save_dataset
from pdd_ray.data.multi_formation import decode, decode_labels
from pdd_ray.data.pixels import Standardise
from pdd_ray.data.synthetic_set import SyntheticSet, empty_set
from pdd_ray.methods.base import StageInputs
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.loop import Sgd, TrainingState, random_batches, train
from pdd_ray.training.starts import random_start
from pdd_ray.training.trajectories import Trajectory, open_trajectory, save_trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pdd_ray.models.registry import ModelSpec

SHAPE = (2, 8, 8)
CLASSES = ("ant", "bee", "cat")
MODEL = ConvNetSpec(width=4, depth=2)
PER_CLASS = 10
"""Train images of each class."""


class InterruptionError(Exception):
    """Ends a computation from inside one of its callbacks, as a killed worker would."""


class Silent:
    """An observer that remembers what it is told."""

    def __init__(self) -> None:
        self.iterations: list[int] = []
        self.candidates: list[int] = []

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Remember the iteration."""
        (self.iterations if "loss" in values else self.candidates).append(iteration)

    def images(self, iteration: int, images: Tensor) -> None:
        """Ignore the images."""

    def progress(self, fraction: float, values: Mapping[str, float]) -> None:
        """Ignore the progress."""


def labelled_images(per_class: int, name: str) -> tuple[Tensor, Tensor]:
    """Return noisy images around one pattern per class, not ordered by class, and labels."""
    patterns = torch.randn(len(CLASSES), *SHAPE, generator=generator(1, "patterns"))
    labels = torch.arange(len(CLASSES)).repeat(per_class)
    noise = torch.randn(len(labels), *SHAPE, generator=generator(1, name))
    return patterns[labels] + 0.5 * noise, labels


def dataset() -> Dataset:
    """Return a data set of 3 classes that a small network can learn."""
    tensors: dict[str, Tensor] = {}
    for name, per_class in (("train", PER_CLASS), ("validation", 4), ("test", 5)):
        tensors[f"{name}_images"], tensors[f"{name}_labels"] = labelled_images(per_class, name)
    return Dataset(
        **tensors,
        classes=CLASSES,
        pixels=Standardise(torch.tensor([0.4, 0.5]), torch.tensor([0.2, 0.3])),
        fingerprint="tiny",
        source="npz",
    )


def data_artifact(folder: Path) -> Path:
    """Write the data set to ``folder``, and return ``folder``."""
    save_dataset(dataset(), folder)
    return folder


def start_of(chain: int, model: ModelSpec = MODEL, seed: int = 0) -> Tensor:
    """Return theta_1 of ``chain``, [P]."""
    network = random_start(model, SHAPE, len(CLASSES), seed, chain)
    return FlatModel(network).flatten(network)


def experts(folder: Path, count: int = 3, epochs: int = 3) -> list[Trajectory]:
    """Train experts of ``epochs`` epochs, and return their trajectories."""
    data = dataset()
    trajectories = []
    for chain in range(count):
        model = random_start(MODEL, SHAPE, len(CLASSES), 0, chain)
        network = FlatModel(model)
        state = TrainingState(model)
        snapshots = [network.flatten(model)]
        for epoch in range(1, epochs + 1):
            batches = random_batches(data.train_images, 8, "none", 0, "expert", chain)
            train(state, data.train_images, data.train_labels, [0.05] * epoch, batches, Sgd())
            snapshots.append(network.flatten(model))
        save_trajectory(folder / f"{chain}", snapshots, network, "float32")
        trajectories.append(open_trajectory(folder / f"{chain}"))
    return trajectories


def bank(count: int = 2, first: int = 200) -> list[Tensor]:
    """Return ``count`` networks that could be transitioned ones, [P] each."""
    return [start_of(first + number) for number in range(count)]


def features() -> Tensor:
    """Return features of the train images, float32 [N, 5]."""
    return torch.randn(PER_CLASS * len(CLASSES), 5, generator=generator(1, "features"))


def scores() -> Tensor:
    """Return forgetting scores of the train images, whole numbers from 0 to 6, float32 [N]."""
    count = PER_CLASS * len(CLASSES)
    return torch.randint(7, (count,), generator=generator(1, "scores")).float()


def nothing_yet(domain: str = "prepared", factor: int = 1) -> SyntheticSet:
    """Return the union of no stages."""
    return empty_set(SHAPE, CLASSES, "normalise", "tiny", domain=domain, factor=factor)


def union_of(sizes: list[int], seed: int = 0) -> SyntheticSet:
    """Return a union with stages of these images per class and step sizes 0.01, 0.02, ..."""
    union = nothing_yet()
    for stage, per_class in enumerate(sizes, start=1):
        images, labels = labelled_images(per_class, f"stage {stage} {seed}")
        order = labels.argsort(stable=True)
        union = union.extend(images[order], labels[order], images[order] / 4, stage / 100)
    return union


def unit_union_of(sizes: list[int], factor: int = 1, seed: int = 0) -> SyntheticSet:
    """Return a union with stages of these images per class, pixels in [0, 1] as IDC makes them."""
    transform = dataset().pixels
    union = nothing_yet("unit", factor)
    for stage, per_class in enumerate(sizes, start=1):
        source = generator(1, "unit stage", stage, seed)
        pixels = torch.rand(len(CLASSES) * per_class, *SHAPE, generator=source)
        labels = torch.arange(len(CLASSES)).repeat_interleave(per_class)
        ready = transform.forward(decode(pixels, factor))
        union = union.extend(ready, decode_labels(labels, factor), pixels, stage / 100)
    return union


def stage_inputs(trajectories: list[Trajectory], **changes: object) -> StageInputs:
    """Return the inputs of a stage with one image per class."""
    values: dict[str, Any] = {
        "dataset": dataset(),
        "previous": nothing_yet(),
        "images_per_class": 1,
        "model": MODEL,
        "experts": trajectories,
        "held_out": [start_of(100), start_of(101)],
        "seed": 0,
        "device": "cpu",
        **changes,
    }
    return StageInputs(**values)


def training_config(**changes: object) -> dict[str, Any]:
    """Return a short training on synthetic images, as JSON."""
    values = {"epochs": 3, "batch_size": 4, **changes}
    return SyntheticTrainingSpec.model_validate(values).to_json()


def step_context(
    folder: Path,
    config: Mapping[str, Any],
    inputs: Mapping[str, Path],
    progress: OnProgress = no_progress,
    seconds_between_saves: float = SECONDS_BETWEEN_SAVES,
) -> StepContext:
    """Return what a step is given; it writes below ``folder``."""
    for name in ("output", "partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return StepContext(
        key="kind-0123456789abcdef",
        label="a/step",
        config=config,
        inputs=inputs,
        output=folder / "output",
        partial=folder / "partial",
        facts=folder / "facts",
        tensorboard=folder / "tb",
        device="cpu",
        progress=progress,
        seconds_between_saves=seconds_between_saves,
    )


def interrupting(after: int) -> Callable[[Mapping[str, float]], None]:
    """Return a report that raises InterruptionError at its call number ``after``."""
    calls = 0

    def report(_progress: Mapping[str, float]) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise InterruptionError

    return report


def new_model(model: ModelSpec = MODEL, name: str = "model") -> torch.nn.Module:
    """Return a fresh network."""
    return create_model(model, SHAPE, len(CLASSES), generator(3, name))
