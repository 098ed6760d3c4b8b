"""Time of one epoch of an expert: ours, eager and compiled, against a plain torch loop.

Run ``python benchmarks/experts.py`` on a machine that does nothing else; about five minutes on one
core. The plain loop reads a TensorDataset with a DataLoader (no workers) and trains the same
network eagerly with the same augmentation. Fails if our compiled epoch is less than 1.3 times as
fast. Results: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from pdd_ray.configuration.training import FULL_DSA
from pdd_ray.core.memory import freed_memory_is_reused
from pdd_ray.core.seeding import generator
from pdd_ray.models.compiled import compiled_loss
from pdd_ray.models.factory import create_model
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.training.augmentation import dsa
from pdd_ray.training.loop import Sgd, TrainingState, mean_cross_entropy, random_batches, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pdd_ray.training.loop import Loss

CLASSES = 10
BATCH = 128
LEARNING_RATE = 0.01
LIMIT = 1.3
PLAIN, EAGER, COMPILED = "plain loop", "ours, eager", "ours, compiled"
CASES = ((9000, 16, 32), (1024, 32, 128))
"""Images, their side, width of the network."""


def ours(images: Tensor, labels: Tensor, spec: ConvNetSpec, *, compile: bool) -> Callable[[], None]:
    """Return a function that trains for one more epoch."""
    shape = tuple(images.shape[1:])
    state = TrainingState(create_model(spec, shape, CLASSES, generator(0, "start")))
    batches = random_batches(images, BATCH, FULL_DSA, 0, "batches")
    loss_of: Loss = mean_cross_entropy
    if compile:
        loss_of = compiled_loss(spec, shape, CLASSES, BATCH)

    def epoch() -> None:
        rates = [LEARNING_RATE] * (state.epoch + 1)
        train(state, images, labels, rates, batches, Sgd(), loss_of=loss_of)

    return epoch


def plain(images: Tensor, labels: Tensor, spec: ConvNetSpec) -> Callable[[], None]:
    """Return a function that trains for one more epoch in a plain torch loop."""
    model = create_model(spec, tuple(images.shape[1:]), CLASSES, generator(0, "start"))
    optimiser = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    loader = DataLoader(TensorDataset(images, labels), BATCH, shuffle=True, num_workers=0)
    source = generator(0, "augmentation")
    height, width = images.shape[2:]

    def epoch() -> None:
        for batch, truth in loader:
            draw = dsa.draw(FULL_DSA, len(truth), height, width, source)
            loss = F.cross_entropy(model(dsa.apply(batch, draw)), truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return epoch


def measure(kind: str, count: int, side: int, width: int, epochs: int) -> list[float]:
    """Return the seconds of ``epochs`` epochs in this process, after one to warm up and compile."""
    source = generator(0, "images")
    images = torch.randn(count, 3, side, side, generator=source)
    labels = torch.randint(CLASSES, (count,), generator=source)
    spec = ConvNetSpec(width=width)
    if kind == PLAIN:
        return _times(plain(images, labels, spec), epochs)
    with freed_memory_is_reused():  # as steps run
        return _times(ours(images, labels, spec, compile=kind == COMPILED), epochs)


def compare(case: tuple[int, int, int], rounds: int, epochs: int) -> bool:
    """Print the times of one case; return whether the limit is kept."""
    medians: dict[str, list[float]] = {PLAIN: [], EAGER: [], COMPILED: []}
    for _ in range(rounds):
        for kind, values in medians.items():
            values.append(statistics.median(_measured(kind, *case, epochs)))
    count, side, width = case
    print(f"\n{count} images of 3x{side}x{side}, width {width}, batch {BATCH}, s per epoch")
    faster: dict[str, float] = {}
    for kind, values in medians.items():
        pairs = zip(medians[PLAIN], values, strict=True)
        faster[kind] = statistics.median(one / other for one, other in pairs)
        seconds = statistics.median(values)
        print(f"{kind:>15} {seconds:7.2f}  {faster[kind]:5.2f} times as fast", flush=True)
    return faster[COMPILED] >= LIMIT


def main() -> int:
    """Print the tables; return 1 if the limit is not kept."""
    parser = argparse.ArgumentParser(description="Time of one epoch of an expert.")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind")
    parser.add_argument("--epochs", type=int, default=3, help="epochs timed in each process")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*json.loads(arguments.measure))))
        return 0
    print("one thread, float32; the kinds in turn, each in processes of its own; medians")
    kept = [compare(case, arguments.rounds, arguments.epochs) for case in CASES]
    print(f"\nrequired of ours, compiled: at least {LIMIT} times as fast as the plain loop")
    return 0 if all(kept) else 1


def _times(epoch: Callable[[], None], epochs: int) -> list[float]:
    epoch()
    times = []
    for _ in range(epochs):
        started = time.perf_counter()
        epoch()
        times.append(time.perf_counter() - started)
    return times


def _measured(*what: str | int) -> list[float]:
    """Return what a fresh process measures."""
    command = [sys.executable, __file__, "--measure", json.dumps(what)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    times: list[float] = json.loads(run.stdout.splitlines()[-1])
    return times


if __name__ == "__main__":
    sys.exit(main())
