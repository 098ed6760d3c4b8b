"""The units of computation that estimates are made of, counted in the functions of real steps.

A case runs a real training, or a real stage of a method, twice, once with one unit more; the
difference is what the unit costs (:class:`pdd_ray.configuration.passes.Pass`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdd_ray.configuration.method_registry import read_method
from pdd_ray.configuration.passes import Pass
from pdd_ray.core.seeding import generator
from pdd_ray.data.dataset import Dataset
from pdd_ray.data.pixels import Standardise
from pdd_ray.data.synthetic_set import SyntheticSet, empty_set
from pdd_ray.methods.base import Partial, StageInputs
from pdd_ray.methods.stage import create_method
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.operator_counts import OperatorCounts, counted
from pdd_ray.testing.tiny import Silent
from pdd_ray.training.loop import Sgd, TrainingState, accuracy, random_batches, train
from pdd_ray.training.trajectories import Trajectory, open_trajectory, save_trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pdd_ray.configuration.method import MethodTraits
    from pdd_ray.core.work import Work
    from pdd_ray.models.plan import Shape
    from pdd_ray.models.registry import ModelSpec

CLASSES = ("ant", "bee", "cat")


@dataclass(frozen=True)
class Network:
    """A network for images of a shape, of three classes."""

    model: ModelSpec
    shape: Shape

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(CLASSES)


@dataclass(frozen=True)
class Case:
    """What was counted, and the passes that it was.

    Attributes:
        network: The network.
        passes: What the counts are those of.
        work: The counts.
        peak: Most bytes held at the same time, of the larger run.
    """

    network: Network
    passes: tuple[Pass, ...]
    work: Work
    peak: float


def difference(larger: OperatorCounts, smaller: OperatorCounts, share: float = 1.0) -> Work:
    """Return ``share`` of what ``larger`` counted more than ``smaller``."""
    return (larger.work + smaller.work * -1.0) * share


def training_cases(network: Network, batch: int, momentum: float = 0.9) -> list[Case]:
    """Return a training step and what an epoch costs beside its steps."""
    one, two = (_counted_epoch(network, batch, steps, momentum) for steps in (1, 2))
    step = difference(two, one)
    epoch = one.work + step * -1.0
    return [
        Case(network, (Pass("training_step", batch),), step, two.peak),
        Case(network, (Pass("training_epoch"),), epoch, 0.0),
    ]


def evaluation_cases(network: Network, batch: int) -> list[Case]:
    """Return a batch of a test."""
    model = _model(network)
    images, labels = _images(network, 2 * batch)
    one, two = (
        counted(accuracy_in(batch), model, images[: n * batch], labels[: n * batch]) for n in (1, 2)
    )
    return [Case(network, (Pass("test_batch", batch),), difference(two, one), two.peak)]


def accuracy_in(batch: int) -> Callable[[Any, Tensor, Tensor], None]:
    """Return a function that tests a network in batches of ``batch`` images."""

    def test(model: Any, images: Tensor, labels: Tensor) -> None:  # noqa: ANN401 - a network
        for part, truth in zip(images.split(batch), labels.split(batch), strict=True):
            accuracy(model, part, truth)

    return test


def augmentation_cases(network: Network, batch: int, rule: str) -> list[Case]:
    """Return the augmentation of a batch in training: the mean of many draws."""
    strategy = {"dsa": "color_crop_cutout_flip_scale_rotate", "dc": "crop_scale_rotate_noise"}
    name = strategy.get(rule, "color_crop_flip_scale_rotate")
    plain, augmented = (
        _counted_epoch(network, batch, DRAWS, 0.0, rule=rule, strategy=s) for s in ("none", name)
    )
    unit: Any = f"{rule}_training"
    return [Case(network, (Pass(unit, batch),), difference(augmented, plain, 1 / DRAWS), 0.0)]


def cutmix_cases(network: Network, batch: int) -> list[Case]:
    """Return CutMix of a batch."""
    plain, mixed = (_counted_epoch(network, batch, DRAWS, 0.0, cutmix=p) for p in (0.0, 1.0))
    return [Case(network, (Pass("cutmix", batch),), difference(mixed, plain, 1 / DRAWS), 0.0)]


DRAWS = 36
"""Batches over which random operations are averaged."""


def matching_cases(
    network: Network, per_class: int, gradient: str = "exact", *, augmented: bool = False
) -> list[Case]:
    """Return an inner step of trajectory matching, and what an iteration costs beside them."""
    steps = DRAWS if augmented else 2
    common = {
        "name": "mtt",
        "gradient": gradient,
        "expert_epochs": 1,
        "max_start_epoch": 1,
        "augmentation": "color_crop_cutout_flip_scale_rotate" if augmented else "none",
        "selection": {"every": 10**6, "networks": 1, "epochs": 1, "augmentation": "none"},
    }

    def run(iterations: int, inner: int) -> OperatorCounts:
        changes = {"iterations": iterations, "inner_steps": inner}
        return counted_stage(network, {**common, **changes}, per_class)

    batch = per_class * network.classes
    if augmented:
        plain = counted_stage(
            network,
            {**common, "augmentation": "none", "iterations": 1, "inner_steps": steps},
            per_class,
        )
        found = difference(run(1, steps), plain, 1 / steps)
        return [Case(network, (Pass("dsa_matching", batch),), found, 0.0)]
    one, two = run(1, 1), run(1, 2)
    step = difference(two, one)
    unit: Any = "unrolled_step" if gradient == "unrolled" else "matching_step"
    iteration = difference(run(2, 1), one) + step * -1.0
    return [
        Case(network, (Pass(unit, batch),), step, two.peak),
        Case(network, (Pass("matching_iteration"),), iteration, 0.0),
    ]


def class_cases(
    network: Network, name: str, real: int, new: int, frozen: int, *, augmented: bool = False
) -> list[Case]:
    """Return the matching of one class by DC, IDC, DM or CAFE, with ``frozen`` images of it."""
    units: dict[str, tuple[Any, Any]] = {
        "dc": ("dc_gradient", "dc_distance"),
        "idc": ("idc_gradient", "idc_distance"),
        "dm": ("dm_embedding", "dm_gradient"),
        "cafe": ("cafe_features", "cafe_gradient"),
    }
    one, two = (
        counted_stage(network, _updates(name, real, count, augmented), new, frozen)
        for count in (1, 2)
    )
    together = network.model.has_batch_norm  # frozen images are in the batch of the new ones
    varied = new + frozen if together else new
    known = [Pass(units[name][0], real), Pass(units[name][1], varied)]
    known += [Pass(units[name][0], frozen)] if frozen and not together else []
    more = []
    if name == "cafe":  # queries and an epoch of the network belong to an update
        known.append(Pass("cafe_features", varied))
        images = (new + frozen) * network.classes
        more = [Pass("test_batch", 1, 2), Pass("training_epoch", 0, 1 / network.classes)]
        more.append(Pass("training_step", images, 1 / network.classes))
    if name == "dm":
        more.append(Pass("network", 0, 1 / network.classes))
    work = difference(two, one, 1 / network.classes)
    return [Case(network, (*known, *more), work, two.peak)]


def class_augmentation_cases(network: Network, rule: str, real: int, new: int) -> list[Case]:
    """Return the augmentation of the matching of a class, which is differentiated."""
    name = "dc" if rule == "dsa" else "idc"
    draws = DRAWS // network.classes
    share = 1 / (network.classes * draws)
    plain, augmented = (
        counted_stage(network, _updates(name, real, draws, wanted), new) for wanted in (False, True)
    )
    unit: Any = f"{rule}_class"
    found = difference(augmented, plain, share)
    return [Case(network, (Pass(unit, real + new),), found, 0.0)]


def network_cases(network: Network) -> list[Case]:
    """Return what drawing a network costs."""
    counts = counted(_model, network)
    return [Case(network, (Pass("network"),), counts.work, 0.0)]


def _updates(name: str, real: int, count: int, augmented: bool) -> dict[str, Any]:
    """Return a method that makes ``count`` updates of all classes, in JSON."""
    dsa = "color_crop_cutout_flip_scale_rotate" if augmented else "none"
    common = {"name": name, "real_batch_size": real, "compile": False}
    if name == "dc":
        return {
            **common,
            "iterations": 1,
            "outer_loop": count,
            "inner_loop": 0,
            "augmentation": dsa,
        }
    if name == "idc":
        return {
            **common,
            "iterations": 1,
            "inner_loop": count,
            "network_images": 0,
            "factor": 1,
            "augmentation": "color_crop_cutout" if augmented else "none",
        }
    if name == "dm":
        return {**common, "iterations": count, "augmentation": dsa}
    return {
        **common,
        "iterations": 1,
        "max_updates": count,
        "max_network_epochs": 1,
        "query_images": 1,
        "augmentation": dsa,
    }


def counted_stage(
    network: Network, method: dict[str, Any], per_class: int, frozen: int = 0
) -> OperatorCounts:
    """Return the counts of a whole stage, after another one that sets up what is kept."""
    spec = read_method(method)
    with tempfile.TemporaryDirectory() as folder:
        inputs = stage_inputs(network, spec, per_class, frozen, Path(folder))
        return counted(
            create_method(spec).distill, inputs, Partial(Path(folder), 10.0**9), Silent()
        )


def stage_inputs(
    network: Network,
    spec: MethodTraits,
    per_class: int,
    frozen: int,
    folder: Path,
) -> StageInputs:
    """Return what a stage is made from, with ``frozen`` images per class of the stage before."""
    needed = max(getattr(spec, "real_batch_size", 1), per_class * spec.multi_formation**2) + 1
    previous = _union(network, spec, frozen)
    inputs = StageInputs(
        dataset=dataset(network, needed),
        previous=previous,
        images_per_class=per_class,
        model=network.model,
        held_out=[_start(network, 7)],
    )
    if spec.trajectory_epochs:
        inputs = replace(inputs, experts=[_trajectory(network, folder / "expert")])
    return inputs


def dataset(network: Network, per_class: int) -> Dataset:
    """Return random images of three classes."""
    tensors: dict[str, Tensor] = {}
    for name, count in (("train", per_class), ("validation", 1), ("test", 1)):
        count *= network.classes
        tensors[f"{name}_images"] = torch.randn(count, *network.shape)
        tensors[f"{name}_labels"] = torch.arange(count) % network.classes
    channels = network.shape[0]
    pixels = Standardise(torch.full((channels,), 0.5), torch.full((channels,), 0.2))
    return Dataset(**tensors, classes=CLASSES, pixels=pixels, fingerprint="random", source="npz")


def _union(network: Network, spec: MethodTraits, frozen: int) -> SyntheticSet:
    union = empty_set(
        network.shape,
        CLASSES,
        "normalise",
        "random",
        domain=spec.pixel_domain,
        factor=spec.multi_formation,
    )
    if not frozen:
        return union
    images = torch.rand(frozen * network.classes, *network.shape)
    labels = torch.arange(network.classes).repeat_interleave(frozen)
    return union.extend(images, labels, images, 0.01)


def _trajectory(network: Network, folder: Path) -> Trajectory:
    model = _model(network)
    snapshots = [_start(network, number) for number in range(3)]
    save_trajectory(folder, snapshots, FlatModel(model), "float32")
    return open_trajectory(folder)


def _model(network: Network, number: int = 0) -> Any:  # noqa: ANN401 - a network
    source = generator(number, "counted")
    return create_model(network.model, network.shape, network.classes, source)


def _start(network: Network, number: int) -> Tensor:
    model = _model(network, number)
    return FlatModel(model).flatten(model)


def _images(network: Network, count: int) -> tuple[Tensor, Tensor]:
    return torch.randn(count, *network.shape), torch.arange(count) % network.classes


def _counted_epoch(
    network: Network,
    batch: int,
    steps: int,
    momentum: float,
    *,
    rule: str = "dsa",
    strategy: str = "none",
    cutmix: float = 0.0,
) -> OperatorCounts:
    """Return the counts of the second epoch of a training, ``steps`` steps long."""
    images, labels = _images(network, batch * steps)
    batches = random_batches(images, batch, strategy, 0, "counted", rule=rule, cutmix=cutmix)
    sgd = Sgd(momentum, 5e-4 if momentum else 0.0)
    state = TrainingState(_model(network))
    train(state, images, labels, [1e-4], batches, sgd)
    return counted(train, state, images, labels, [1e-4, 1e-4], batches, sgd)


def all_cases(quick: bool = False) -> list[Case]:
    """Return the cases from which the counts of all units are derived."""
    found: list[Case] = []
    networks = [Network(model, shape) for model, shape in fitted_networks(quick)]
    for network in networks:
        found += network_cases(network)
        for batch in (8, 24):
            found += training_cases(network, batch)
            found += evaluation_cases(network, batch)
    for network in networks:
        if not isinstance(network.model, ConvNetSpec):
            continue
        for per_class, gradient in ((2, "exact"), (5, "exact"), (3, "tesla"), (3, "unrolled")):
            found += matching_cases(network, per_class, gradient)
        if network.model.has_batch_norm:  # all classes in one batch: not the sum of passes
            continue
        for name in ("dc", "idc", "dm", "cafe"):
            for real, new, frozen in ((24, 6, 0), (12, 2, 8)):
                found += class_cases(network, name, real, new, frozen)
    return found + augmented_cases()


def augmented_cases() -> list[Case]:
    """Return the cases of augmentation, whose cost depends on the images alone."""
    found: list[Case] = []
    model = ConvNetSpec(width=4, depth=2)
    for side in (8, 16):
        network = Network(model, (3, side, side))
        for batch in (12, 36):
            for rule in ("dsa", "idc", "dc"):
                found += augmentation_cases(network, batch, rule)
            found += cutmix_cases(network, batch)
            found += matching_cases(network, batch // 3, augmented=True)
            for rule in ("dsa", "idc"):
                found += class_augmentation_cases(network, rule, batch, batch // 4)
    return found


def fitted_networks(quick: bool = False) -> Sequence[tuple[ModelSpec, Shape]]:
    """Return the networks of the cases: all normalisations and poolings, several sizes."""
    plain = [
        (ConvNetSpec(width=16, depth=3), (3, 32, 32)),
        (ConvNetSpec(width=64, depth=3), (3, 16, 16)),
        (ConvNetSpec(width=32, depth=2), (1, 8, 8)),
        (ConvNetSpec(width=24, depth=4), (3, 32, 32)),
    ]
    if quick:
        return plain[:2]
    return [
        *plain,
        (ConvNetSpec(width=16, depth=3, norm="batch"), (3, 32, 32)),
        (ConvNetSpec(width=48, depth=2, norm="batch"), (3, 16, 16)),
        (ConvNetSpec(width=16, depth=3, norm="none"), (3, 32, 32)),
        (ConvNetSpec(width=32, depth=2, norm="none", pooling="none"), (3, 16, 16)),
        (ConvNetSpec(width=16, depth=3, norm="layer", pooling="max"), (3, 32, 32)),
    ]
