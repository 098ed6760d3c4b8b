"""Time of one epoch of an expert: ours, eager and compiled, against a plain torch loop.

Run ``python benchmarks/experts.py`` on a machine that does nothing else; about five minutes on one
core. The plain loop reads a TensorDataset with a DataLoader in the same process and trains the
same network eagerly with the same augmentation. Times are medians of epochs measured in turn.
Fails if our compiled epoch is less than 1.3 times faster than the plain one. Results:
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from pdd_ray.augment import dsa
from pdd_ray.models.compiled import compiled_loss
from pdd_ray.models.factory import create_model
from pdd_ray.seeding import generator
from pdd_ray.specs.model import ConvNetSpec
from pdd_ray.specs.training import FULL_DSA
from pdd_ray.training import Sgd, TrainingState, mean_cross_entropy, random_batches, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pdd_ray.training import Loss

CLASSES = 10
BATCH = 128
LEARNING_RATE = 0.01
LIMIT = 1.3
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


def measure(count: int, side: int, width: int, repeats: int) -> bool:
    """Print the times of one case; return whether the limit is kept."""
    source = generator(0, "images")
    images = torch.randn(count, 3, side, side, generator=source)
    labels = torch.randint(CLASSES, (count,), generator=source)
    spec = ConvNetSpec(width=width)
    runs = {
        "plain loop": plain(images, labels, spec),
        "ours, eager": ours(images, labels, spec, compile=False),
        "ours, compiled": ours(images, labels, spec, compile=True),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:  # the first turn warms up and compiles
                times[name].append(time.perf_counter() - started)
    print(f"\n{count} images of 3x{side}x{side}, width {width}, batch {BATCH}, s per epoch")
    faster = {name: _paired(times["plain loop"], values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:>15} {statistics.median(values):7.2f}  {faster[name]:5.2f} times as fast")
    return faster["ours, compiled"] >= LIMIT


def _paired(theirs: list[float], ours: list[float]) -> float:
    """Return the median ratio of times measured one after the other."""
    return statistics.median(one / other for one, other in zip(theirs, ours, strict=True))


def main() -> int:
    """Print the tables; return 1 if the limit is not kept."""
    parser = argparse.ArgumentParser(description="Time of one epoch of an expert.")
    parser.add_argument("--repeats", type=int, default=7, help="epochs timed of each kind")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"one thread, float32, medians of {arguments.repeats} epochs measured in turn")
    kept = [measure(*case, arguments.repeats) for case in CASES]
    print(f"required of ours, compiled: at least {LIMIT} times as fast as the plain loop")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
