"""Waits and launches per unit of work: an iteration, a training step, an update of a class.

Counted on the emulated device, so the numbers are facts that tests may assert and that hold on any
machine: values that wait on the device are read when there are many, never because a second has
passed, which is a long time for a GPU and a short one here. A unit's numbers are the difference
between a long run and a short one, divided by the units between them: what is done once per step
of a sweep has no part in them.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

from pdd_ray.configuration.method_registry import read_method
from pdd_ray.configuration.training import FULL_DSA
from pdd_ray.core import transfers
from pdd_ray.core.seeding import generator
from pdd_ray.methods.base import Partial
from pdd_ray.methods.stage import create_method
from pdd_ray.models.factory import create_model
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.fake_device import DEVICE, Seen, fake_device
from pdd_ray.testing.tiny import (
    CLASSES,
    Silent,
    bank,
    experts,
    stage_inputs,
    union_of,
    unit_union_of,
)
from pdd_ray.training.loop import Sgd, TrainingState, random_batches, train

if TYPE_CHECKING:
    from collections.abc import Callable


FULL_DC = "crop_scale_rotate_noise"
INNER_STEPS = 30


@dataclass(frozen=True)
class Unit:
    """Something to count.

    Attributes:
        per: What one unit is.
        run: Does the work of a number of rounds on the device.
        units: Units of a round.
        rounds: Rounds of the short run and of the long one.
        most_syncs: Syncs per unit that are allowed.
        most_launches: Launches per unit that are allowed; None if nothing is promised.
    """

    per: str
    run: Callable[[int], None]
    units: int
    rounds: tuple[int, int]
    most_syncs: float
    most_launches: float | None = None


@dataclass(frozen=True)
class Counts:
    """Syncs and launches per unit; and of each line, the most frequent first."""

    syncs: float
    launches: float
    sync_lines: list[tuple[str, float]]
    launch_lines: list[tuple[str, float]]


def count(unit: Unit) -> Counts:
    """Return what one ``unit`` causes."""
    short, long = unit.rounds
    _seen(unit.run, short)  # what a process computes once is there afterwards
    before, after = _seen(unit.run, short), _seen(unit.run, long)
    units = unit.units * (long - short)
    syncs, launches = Counter(after.syncs), Counter(after.launches)
    syncs.subtract(before.syncs)
    launches.subtract(before.launches)
    return Counts(
        syncs=syncs.total() / units,
        launches=launches.total() / units,
        sync_lines=[(f"{line} {what}", n / units) for (line, what), n in syncs.most_common() if n],
        launch_lines=[(line, n / units) for line, n in launches.most_common() if n],
    )


def _seen(run: Callable[[int], None], rounds: int) -> Seen:
    with fake_device() as seen, patch.object(transfers, "SECONDS_BETWEEN_FETCHES", math.inf):
        run(rounds)
    return seen


def _train(epochs: int, *, rule: str, strategy: str) -> None:
    """Train on 20 distilled images of 3x32x32: one step per epoch."""
    images = torch.randn(20, 3, 32, 32, generator=generator(0, "counted"))
    labels = torch.arange(20) % 10
    model = create_model(ConvNetSpec(width=4, depth=3), (3, 32, 32), 10, generator(0, "network"))
    batches = random_batches(images, 256, strategy, 0, "counted", rule=rule)
    state = TrainingState(model.to(DEVICE))
    rates = [0.01] * epochs
    train(state, images.to(DEVICE), labels.to(DEVICE), rates, batches, Sgd(0.9, 5e-4))


def _distil(iterations: int, *, name: str, **options: Any) -> None:  # noqa: ANN401 - settings
    """Make the second stage on a tiny data set."""
    spec = read_method({"name": name, "iterations": iterations, **options})
    if spec.pixel_domain == "unit":
        previous = unit_union_of([1], spec.multi_formation)
    else:
        previous = union_of([1])
    with tempfile.TemporaryDirectory() as folder:
        trajectories = experts(Path(folder), count=1) if name == "mtt" else []
        inputs = stage_inputs(trajectories, previous=previous, images_per_class=2)
        if spec.bank_chains:
            inputs = replace(inputs, bank=bank())
        moved = replace(inputs, dataset=inputs.dataset.to(DEVICE), device=DEVICE)
        progress = Partial(Path(folder), seconds_between_saves=3600.0)
        create_method(spec).distill(moved, progress, Silent())


def _step(rule: str, strategy: str, most_launches: float | None = None) -> Unit:
    run = partial(_train, rule=rule, strategy=strategy)
    return Unit("training step", run, 1, (1, 65), 0.1, most_launches)


def _method(name: str, sweeps: int = 1, **options: Any) -> Unit:  # noqa: ANN401 - settings
    run = partial(_distil, name=name, real_batch_size=6, **options)
    return Unit("update of a class", run, sweeps * len(CLASSES), (1, 2), 2.0)


_MTT: dict[str, Any] = {
    "inner_steps": INNER_STEPS,
    "expert_epochs": 1,
    "max_start_epoch": 2,
    "selection": {"every": 1000, "networks": 1, "epochs": 1},
}
_DC: dict[str, Any] = {"outer_loop": 2, "inner_loop": 1}
_CAFE: dict[str, Any] = {"max_updates": 2, "max_network_epochs": 1}
_IDC: dict[str, Any] = {
    "inner_loop": 2,
    "network_images": 18,
    "network_batch_size": 6,
    "synthetic_batch_size": 9,
}
UNITS: dict[str, Unit] = {
    "mtt": Unit(
        f"iteration of {INNER_STEPS} steps", partial(_distil, name="mtt", **_MTT), 1, (1, 2), 10.0
    ),
    "train": _step("dsa", "none", 60.0),
    "train_dsa": _step("dsa", FULL_DSA, 60.0),
    "train_dc": _step("dc", FULL_DC, 60.0),
    "train_idc": _step("idc", FULL_DSA),
    "dm": _method("dm"),
    "dc": _method("dc", 2, **_DC),
    "dsa": _method("dsa", 2, **_DC),
    "cafe": _method("cafe", 2, **_CAFE),
    "idc": _method("idc", 2, **_IDC),
    "dream": _method("dream", 2, **_IDC),
}
"""What is counted, by name."""
