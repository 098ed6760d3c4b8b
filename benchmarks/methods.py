"""Time of an update with DC, DM and IDC: ours against plain loops, and late against early stages.

Run ``python benchmarks/methods.py`` on a machine that does nothing else. The plain loops are
written as the original repositories are (specification of other methods, sections 1 to 3): one
class after the other in Python, eager autograd with everything in one graph, torch's optimiser on
the images, and torch's own handling of memory. Both sides make the same draws, and must find the
same losses and the same images. Every kind runs in a process of its own; they take turns, one
update each, so that ratios are those of neighbours in time. Fails if a limit is not kept. Results:
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    import numpy as np
    from torch import Tensor, nn

    from pdd_ray.configuration.methods.distribution_matching import DmSpec
    from pdd_ray.configuration.methods.gradient_matching import DcSpec, IdcSpec
    from pdd_ray.methods.base import StageInputs

    Turn = Callable[[float], None]

# torch is imported in the measuring processes only: a process inherits the high-water mark of the
# one that starts it.

CLASSES = 10
SIDE = 32
IMAGES_PER_CLASS = 10
PER_STAGE = 2
LAST_STAGE = 5
LIMITS = {"dc": 1.5, "dm": 1.5, "idc": 1.3}
STAGE_LIMITS = {"dc": 1.1, "dm": 1.1, "idc": 1.5}
"""For a first-order pass of the earlier sets: 8 images beside 256 real ones, with IDC 32 beside 64.
"""
UPDATES = {"dc": "a step over the classes", "dm": "an iteration", "idc": "a sweep over the classes"}
REAL = {"dc": 256, "dm": 256, "idc": 64}
"""Real images per class and update, as in the papers."""
PLAIN, EAGER, COMPILED = "plain loop", "ours, eager", "ours, compiled"
PLAIN_REUSED, EAGER_GIVEN_BACK = "plain loop, memory reused", "ours, eager, memory given back"
TOLERANCES = {EAGER: (1e-5, 1e-3), COMPILED: (1e-3, 1e-2)}
"""Relative, of the losses, and in norm of what all updates did to the images: float32 rounding. It
decides on which side of a ReLU's kink a few values lie; compiled code rounds in other places."""


@dataclass(frozen=True)
class Run:
    """What one process does.

    Attributes:
        method: ``dc``, ``dm`` or ``idc``.
        kind: Plain or ours, and how.
        width: Of the network.
        updates: How many updates, the first of which warms up and compiles.
        stage: 1-based; earlier stages have PER_STAGE images per class.
        images_per_class: New images of each class.
    """

    method: str
    kind: str
    width: int
    updates: int
    stage: int = 1
    images_per_class: int = IMAGES_PER_CLASS


@dataclass(frozen=True)
class Found:
    """What one process found: losses, what all updates moved the images by, its memory in MB."""

    losses: list[float]
    move: np.ndarray
    peak: float


# --- the problem ----------------------------------------------------------------------------------


def inputs_of(run: Run) -> StageInputs:
    """Return the inputs of a stage on random images, with as many as a batch takes per class."""
    import torch

    from pdd_ray.core.seeding import generator
    from pdd_ray.data.dataset import Dataset
    from pdd_ray.data.multi_formation import decode, decode_labels
    from pdd_ray.data.pixels import Standardise
    from pdd_ray.data.synthetic_set import empty_set
    from pdd_ray.methods.base import StageInputs
    from pdd_ray.models.factory import create_model
    from pdd_ray.models.flat import FlatModel
    from pdd_ray.models.networks.convnet import ConvNetSpec

    shape, source = (3, SIDE, SIDE), generator(0, "images")
    labels = torch.arange(CLASSES).repeat_interleave(REAL[run.method] + 44)
    images = torch.randn(len(labels), *shape, generator=source)
    rest = {f"{name}_images": images[:1] for name in ("validation", "test")}
    rest |= {f"{name}_labels": labels[:1] for name in ("validation", "test")}
    classes = tuple(f"class {label}" for label in range(CLASSES))
    pixels = Standardise(torch.full((3,), 0.5), torch.full((3,), 0.25))
    dataset = Dataset(images, labels, **rest, classes=classes, pixels=pixels, fingerprint="random",
                      source="npz")  # fmt: skip
    spec, model = spec_of(run), ConvNetSpec(width=run.width)
    domain, factor = spec.pixel_domain, spec.multi_formation
    union = empty_set(shape, classes, "normalise", "random", domain=domain, factor=factor)
    owners = torch.arange(CLASSES).repeat_interleave(PER_STAGE)
    for _ in range(run.stage - 1):
        stored = torch.rand(len(owners), *shape, generator=source)
        ready = pixels.forward(decode(stored, factor))
        union = union.extend(ready, decode_labels(owners, factor), stored, 0.01)
    bank = [create_model(model, shape, CLASSES, generator(0, "bank", n)) for n in range(2)]
    return StageInputs(
        dataset,
        union,
        run.images_per_class,
        model,
        bank=[FlatModel(network).flatten(network) for network in bank],
    )


def spec_of(run: Run) -> DcSpec | DmSpec | IdcSpec:
    """Return the paper's settings, with one update of the images per network."""
    from pdd_ray.configuration.methods.distribution_matching import DmSpec
    from pdd_ray.configuration.methods.gradient_matching import DcSpec, IdcSpec

    common: dict[str, Any] = {
        "iterations": run.updates,
        "real_batch_size": REAL[run.method],
        "compile": run.kind == COMPILED,
    }
    if run.method == "dc":
        return DcSpec(**common, outer_loop=1, inner_loop=0)
    if run.method == "dm":
        return DmSpec(**common)
    # IDC's own optimiser moves all images at the step of every class, as the plain loop does
    return IdcSpec(**common, inner_loop=1, network_images=0, coasting=True)


# --- plain loops ----------------------------------------------------------------------------------


def plain_dc(inputs: StageInputs, spec: DcSpec, images: Tensor, turn: Turn) -> None:
    """Update ``images`` as DC does: a sum of the distances of all classes, one backward pass."""
    import torch
    import torch.nn.functional as F

    from pdd_ray.core.seeding import generator
    from pdd_ray.methods.drawn_networks import drawn_model
    from pdd_ray.methods.initial import random_members

    count, data = inputs.images_per_class, inputs.dataset.train_images
    optimiser = torch.optim.SGD([images], spec.image_learning_rate, spec.momentum)
    for draw in range(spec.iterations):
        network = drawn_model(inputs, draw).train()
        parameters = list(network.parameters())
        loss = torch.zeros(())
        for label, members in enumerate(_members(inputs)):
            source = generator(inputs.seed, "stage", 1, "matching", draw, 0, label)
            real = data[random_members(members, spec.real_batch_size, source)]
            own = images[label * count : (label + 1) * count]
            truths = [torch.full((len(batch),), label) for batch in (real, own)]
            loss_real = F.cross_entropy(network(real), truths[0])
            target = [g.detach().clone() for g in torch.autograd.grad(loss_real, parameters)]
            loss_own = F.cross_entropy(network(own), truths[1])
            gradient = torch.autograd.grad(loss_own, parameters, create_graph=True)
            for one, other in zip(gradient, target, strict=True):
                if one.dim() == 1:
                    continue
                rows, others = one.reshape(len(one), -1), other.reshape(len(other), -1)
                norms = torch.norm(rows, dim=1) * torch.norm(others, dim=1)
                loss = loss + torch.sum(1 - torch.sum(rows * others, dim=1) / (norms + 1e-6))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        turn(loss.item() / CLASSES)


def plain_dm(inputs: StageInputs, spec: DmSpec, images: Tensor, turn: Turn) -> None:
    """Update ``images`` as DM does: a sum of the distances of all classes, one backward pass."""
    import torch

    from pdd_ray.core.seeding import generator
    from pdd_ray.methods.drawn_networks import drawn_model
    from pdd_ray.methods.initial import random_members
    from pdd_ray.training.augmentation.rules import draw_augmentation

    count, data = inputs.images_per_class, inputs.dataset.train_images
    optimiser = torch.optim.SGD([images], spec.image_learning_rate, spec.momentum)
    for draw in range(spec.iterations):
        network = drawn_model(inputs, draw).train()
        for parameter in network.parameters():
            parameter.requires_grad = False
        embed = network[:-1]
        loss = torch.zeros(())
        for label, members in enumerate(_members(inputs)):
            sources = [
                generator(inputs.seed, "stage", 1, name, draw, label)
                for name in ("real", "augmentation")
            ]
            real = data[random_members(members, spec.real_batch_size, sources[0])]
            own = images[label * count : (label + 1) * count]
            augmentation = draw_augmentation(
                "dsa", spec.augmentation, 1, SIDE, SIDE, sources[1], shared=True
            )
            target = embed(augmentation.apply(real)).detach()
            features = embed(augmentation.apply(own))
            loss = loss + torch.sum((target.mean(dim=0) - features.mean(dim=0)) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        turn(loss.item())


def plain_idc(inputs: StageInputs, spec: IdcSpec, images: Tensor, turn: Turn) -> None:
    """Update ``images`` as IDC does: a backward pass and a step of the optimiser per class."""
    import torch

    from pdd_ray.methods.drawn_networks import drawn_model
    from pdd_ray.methods.idc import ShuffledBatches

    batches = ShuffledBatches(spec, inputs)
    rate = spec.image_rate(inputs.images_per_class, SIDE, 1)
    optimiser = torch.optim.SGD([images], rate, spec.momentum)
    images.grad = torch.zeros_like(images)
    for draw in range(spec.iterations):
        network = drawn_model(inputs, draw).train()
        images.data.clamp_(0, 1)
        total = 0.0
        for label, positions in enumerate(batches.positions(torch.empty(0), draw, 0)):
            loss = _idc_loss(inputs, spec, network, images, positions, draw, label)
            optimiser.zero_grad(set_to_none=False)  # what has a gradient of zero coasts
            loss.backward()
            optimiser.step()
            total += loss.item()
        turn(total / CLASSES)


def _idc_loss(
    inputs: StageInputs,
    spec: IdcSpec,
    network: nn.Module,
    images: Tensor,
    positions: Tensor,
    draw: int,
    label: int,
) -> Tensor:
    import torch
    import torch.nn.functional as F

    from pdd_ray.core.seeding import generator
    from pdd_ray.data.multi_formation import decode
    from pdd_ray.training.augmentation.rules import draw_augmentation

    count, parameters = inputs.images_per_class, list(network.parameters())
    own = decode(images[label * count : (label + 1) * count], spec.factor)
    own = inputs.dataset.pixels.forward(own)
    real = inputs.dataset.train_images[positions]
    source = generator(inputs.seed, "stage", 1, "match", draw, 0, label)
    augmentation = draw_augmentation("idc", spec.augmentation, 1, SIDE, SIDE, source, shared=True)
    both = augmentation.apply(torch.cat([real, own]))
    real, own = both[: len(real)], both[len(real) :]
    truths = [torch.full((len(batch),), label) for batch in (real, own)]
    loss_real = F.cross_entropy(network(real), truths[0])
    target = [g.detach() for g in torch.autograd.grad(loss_real, parameters)]
    loss_own = F.cross_entropy(network(own), truths[1])
    gradient = torch.autograd.grad(loss_own, parameters, create_graph=True)
    loss = torch.zeros(())
    for one, other in zip(gradient, target, strict=True):
        if one.dim() == 4:
            loss = loss + torch.sum((one - other) ** 2)
    return loss


def _members(inputs: StageInputs) -> list[Tensor]:
    from pdd_ray.methods.initial import class_members

    return class_members(inputs.dataset)


# --- processes that take turns --------------------------------------------------------------------


def serve(run: Run, connection: Connection) -> None:
    """Make one update for every message, answer with its seconds, and at last with Found."""
    import torch

    from pdd_ray.core.memory import freed_memory_is_reused

    torch.set_num_threads(1)
    reused = run.kind in (EAGER, COMPILED, PLAIN_REUSED)  # as steps run
    with freed_memory_is_reused() if reused else nullcontext():
        inputs = inputs_of(run)
        losses: list[float] = []
        started = 0.0

        def turn(loss: float) -> None:
            nonlocal started
            connection.send(time.perf_counter() - started)
            losses.append(loss)
            if len(losses) < run.updates:
                connection.recv()
            started = time.perf_counter()

        connection.recv()
        started = time.perf_counter()
        before, after = update(run, inputs, turn)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        connection.send(Found(losses, (after - before).numpy(), peak))


def update(run: Run, inputs: StageInputs, turn: Turn) -> tuple[Tensor, Tensor]:
    """Make all updates of ``run``, and return the images before and after them."""
    from pdd_ray.configuration.methods.gradient_matching import DcSpec, IdcSpec
    from pdd_ray.methods.base import Partial
    from pdd_ray.methods.idc import first_images as first_of_idc
    from pdd_ray.methods.initial import first_images
    from pdd_ray.methods.stage import create_method

    spec = spec_of(run)
    names = ("stage", inputs.stage, "initial" if isinstance(spec, DcSpec) else "initialisation")
    if isinstance(spec, IdcSpec):
        first = first_of_idc(spec, inputs)
    else:
        first = first_images(
            spec.initialisation, inputs.dataset, inputs.images_per_class, inputs.seed, *names
        )
    if run.kind in (PLAIN, PLAIN_REUSED):
        images = first.clone().requires_grad_()
        {"dc": plain_dc, "dm": plain_dm, "idc": plain_idc}[run.method](inputs, spec, images, turn)  # type: ignore[operator]
        last = images.detach()
        return first, last.clamp(0, 1) if isinstance(spec, IdcSpec) else last
    with tempfile.TemporaryDirectory() as folder:
        partial = Partial(Path(folder), math.inf)  # nothing is saved
        outcome = create_method(spec).distill(inputs, partial, Waiting(turn))
    return first, outcome.images


class Waiting:
    """An observer that waits for its turn between two updates."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def scalars(self, iteration: int, values: dict[str, float]) -> None:
        """Take no notice."""

    def images(self, iteration: int, images: Tensor) -> None:
        """Take no notice."""

    def progress(self, fraction: float, values: dict[str, float]) -> None:
        """Say that an update is done, and wait."""
        self._turn(values["loss"])


def in_turns(runs: Sequence[Run]) -> tuple[list[list[float]], list[Found]]:
    """Return the seconds of the updates after the first of every run, and what it found."""
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(run)) for run in runs]
        times: list[list[float]] = [[] for _ in runs]
        for number in range(runs[0].updates):
            for worker, seconds in zip(workers, times, strict=True):
                taken = worker.update()
                if number:
                    seconds.append(taken)
        return times, [worker.found() for worker in workers]


class _Worker:
    """A process that makes one update when it is asked to."""

    def __init__(self, run: Run) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(run, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.join()

    def update(self) -> float:
        """Return the seconds of one update."""
        self._connection.send("go")
        seconds: float = self._connection.recv()
        return seconds

    def found(self) -> Found:
        """Return what came out after the last update."""
        found: Found = self._connection.recv()
        return found


# --- tables ---------------------------------------------------------------------------------------


def compare(method: str, width: int, repetitions: int, *, memory: bool) -> bool:
    """Print how ours compares with the plain loop; return whether the limit is kept."""
    kinds = [PLAIN, *([PLAIN_REUSED, EAGER_GIVEN_BACK] if memory else []), EAGER, COMPILED]
    runs = [Run(method, kind, width, repetitions + 1) for kind in kinds]
    times, found = in_turns(runs)
    print(f"\n{method}, {UPDATES[method]}: {REAL[method]} real images per class, "
          f"{IMAGES_PER_CLASS} new ones, s")  # fmt: skip
    print(f"{'':>30} {'median':>8}   times as fast: median (least to most)       MB")
    fastest = 0.0
    for kind, seconds, one in zip(kinds, times, found, strict=True):
        _assert_same(kind, one, found[0])
        ratios = [plain / own for plain, own in zip(times[0], seconds, strict=True)]
        ratio = statistics.median(ratios)
        print(f"{kind:>30} {statistics.median(seconds):8.3f}   {ratio:5.2f} "
              f"({min(ratios):.2f} to {max(ratios):.2f}) {one.peak:25.0f}", flush=True)  # fmt: skip
        if kind == COMPILED:
            fastest = ratio
    print(f"required of {COMPILED}: at least {LIMITS[method]} times as fast as the {PLAIN}")
    return fastest >= LIMITS[method]


def compare_stages(method: str, width: int, repetitions: int) -> bool:
    """Print what an update of the last stage costs against one of the first."""
    first = Run(method, EAGER, width, repetitions + 1, images_per_class=PER_STAGE)
    runs = [first, replace(first, stage=LAST_STAGE)]
    times, found = in_turns(runs)
    ratios = [late / early for early, late in zip(*times, strict=True)]
    medians = [statistics.median(seconds) for seconds in times]
    print(f"{method:>7} {medians[0]:9.3f} {medians[1]:9.3f}   {statistics.median(ratios):5.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f}) {found[0].peak:9.0f} {found[1].peak:9.0f}",
          flush=True)  # fmt: skip
    return statistics.median(ratios) <= STAGE_LIMITS[method]


def _assert_same(kind: str, one: Found, plain: Found) -> None:
    """Check that ``one``, of ``kind``, computed what the plain loop did."""
    of_losses, of_moves = TOLERANCES[COMPILED if kind == COMPILED else EAGER]
    for number, (loss, expected) in enumerate(zip(one.losses, plain.losses, strict=True)):
        difference = abs(loss - expected) / abs(expected)
        assert difference <= of_losses, f"{kind}: losses {number} differ by {difference:.2g}"
    difference = _norm(one.move - plain.move) / _norm(plain.move)
    assert difference <= of_moves, f"{kind}: moves of the images differ by {difference:.2g}"


def _norm(values: np.ndarray) -> float:
    return math.sqrt(float((values.astype("float64") ** 2).sum()))


def main() -> int:
    """Print the tables; return 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description="Time of an update with DC, DM and IDC.")
    parser.add_argument("--width", type=int, default=128, help="of the network")
    parser.add_argument("--repetitions", type=int, default=9, help="timed updates of every kind")
    parser.add_argument("--method", choices=tuple(LIMITS), help="one of the three")
    parser.add_argument("--only", choices=("loops", "stages"), help="one of the two parts")
    parser.add_argument(
        "--memory", action="store_true", help="show too what reusing freed memory has a share in"
    )
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    methods = [arguments.method] if arguments.method else list(LIMITS)
    width, repetitions = arguments.width, arguments.repetitions
    print(f"width {width}, depth 3, {CLASSES} classes of 3x{SIDE}x{SIDE}, one thread, float32; "
          f"{repetitions} updates of every kind in turn")  # fmt: skip
    fine = True
    if arguments.only != "stages":
        for method in methods:
            fine &= compare(method, width, repetitions, memory=arguments.memory)
    if arguments.only != "loops":
        print(f"\nan update of stage {LAST_STAGE} against one of stage 1, {PER_STAGE} images per "
              "class and stage, ours, eager")  # fmt: skip
        print(f"{'':>7} {'stage 1':>9} {f'stage {LAST_STAGE}':>9}   times as long        "
              f"{'MB':>9} {'MB':>9}")  # fmt: skip
        for method in methods:
            fine &= compare_stages(method, width, repetitions)
        limits = ", ".join(f"{method} {STAGE_LIMITS[method]}" for method in methods)
        print(f"required: at most {limits} times as long")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
