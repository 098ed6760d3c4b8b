"""Several networks trained at once against one after the other: CPU time and launches.

Run ``python benchmarks/grouped.py`` (10 minutes, one thread). CPU time of the same training steps
in turn, and the operators that they launch on an emulated device, where that is what counts.
Results: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch

from pdd_ray.configuration.training import FULL_DSA
from pdd_ray.core.memory import freed_memory_is_reused
from pdd_ray.core.seeding import generator
from pdd_ray.models.factory import create_model
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.training.grouped import train_grouped
from pdd_ray.training.loop import Sgd, TrainingState, random_batches, train

if TYPE_CHECKING:
    from torch import Tensor

CLASSES, SIDE = 10, 32
CASES = ((16, 10), (16, 128), (32, 10), (32, 128), (128, 10), (128, 128))
"""Width of the networks, images per step."""
SGD = Sgd(momentum=0.9, weight_decay=5e-4)


def trained(width: int, images: Tensor, networks: int, steps: int, *, together: bool) -> None:
    """Train networks for so many steps, each on all images."""
    spec = ConvNetSpec(width=width)
    labels = (torch.arange(len(images)) % CLASSES).to(images.device)
    states = [
        TrainingState(
            create_model(spec, (3, SIDE, SIDE), CLASSES, generator(0, number)).to(images.device)
        )
        for number in range(networks)
    ]
    batches = [
        random_batches(images, len(images), FULL_DSA, 0, "network", number)
        for number in range(networks)
    ]
    rates = [0.01] * steps
    if together:
        train_grouped(states, images, labels, rates, batches, SGD)
        return
    for state, own in zip(states, batches, strict=True):
        train(state, images, labels, rates, own, SGD)


def seconds(width: int, images: Tensor, networks: int, steps: int, *, together: bool) -> float:
    """Return the CPU time of one step of all networks."""
    with freed_memory_is_reused():
        trained(width, images, networks, 1, together=together)
        started = time.process_time()
        trained(width, images, networks, steps, together=together)
        return (time.process_time() - started) / steps


def launches(width: int, networks: int, *, together: bool, steps: int = 20) -> float:
    """Return the operators that one step of all networks launches on a device."""
    with fake_device() as seen:
        images = torch.zeros(10, 3, SIDE, SIDE).to(DEVICE)
        trained(width, images, networks, 1, together=together)
        once = seen.total_launches
        trained(width, images, networks, steps + 1, together=together)
        return (seen.total_launches - 2 * once) / steps


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Networks trained at once and one by one.")
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    count = options.networks
    one, several, at_once = (
        launches(16, networks, together=together)
        for networks, together in ((1, False), (count, False), (count, True))
    )
    print(f"launches per step with DSA: one {one:.0f}, {count} one by one {several:.0f}, ", end="")
    print(f"at once {at_once:.0f}")
    for width, size in CASES:
        images = torch.randn(size, 3, SIDE, SIDE, generator=generator(0, "images"))
        steps = max(1, options.steps * 10 // size)
        pairs = [
            tuple(
                seconds(width, images, count, steps, together=together)
                for together in (False, True)
            )
            for _ in range(options.rounds)
        ]
        ratios = [alone / grouped for alone, grouped in pairs]
        print(
            f"width {width:3}, {size:3} images: {count} one by one "
            f"{1e3 * statistics.median(alone for alone, _ in pairs):7.1f} ms, at once "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
            "times as fast",
            flush=True,
        )


if __name__ == "__main__":
    main()
