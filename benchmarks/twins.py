"""What torch.func costs without compiling: the eager functions of the methods against their twins.

Run ``python benchmarks/twins.py`` on a machine that does nothing else; about three minutes on
one core. Where a method computes with autograd, and with torch.func for torch.compile, both get the
same arguments and take turns, in an order that alternates; every network width has a process of
its own. Prints CPU time and says whether both give the same bytes in float32, and how far they are
apart in float64. There is no limit: the figures say why both forms are kept. Results:
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from torch import Tensor

    Call = Callable[[], Sequence[Tensor]]

# torch is imported where it is measured: the number of threads is set before that.

CLASSES = 10
SIDE = 32
REAL, NEW = 256, 10
"""Images of a class in one update with DC, DM and CAFE, as in benchmarks/loops.py."""
DECODED = 40
"""Images to which IDC decodes 10 stored ones."""
INNER_BATCH = 100
"""Of trajectory matching, as in benchmarks/matching.py."""
EXPERT_BATCH = 128
"""As in benchmarks/loops.py."""
LEAST_SECONDS = 0.2
"""CPU time of one measurement; a function is called as often as that takes."""


@dataclass(frozen=True)
class Twins:
    """Two forms of the same function; each call computes all of its results anew."""

    name: str
    eager: Call
    functional: Call


class Problem:
    """Random images and networks of one width, in one dtype, and the twins on them."""

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        import torch

        from pdd_ray.core.seeding import generator
        from pdd_ray.models.factory import create_model
        from pdd_ray.models.flat import FlatModel
        from pdd_ray.models.networks.convnet import ConvNetSpec

        self.shape = (3, SIDE, SIDE)
        self.spec = ConvNetSpec(width=width)
        self.source = generator(0, "benchmark")
        self.dtype = dtype
        self.model = create_model(self.spec, self.shape, CLASSES, self.source).to(dtype)
        self.network = FlatModel(self.model)
        self.theta = self.network.flatten(self.model)
        self.labels = torch.arange(INNER_BATCH) % CLASSES

    def draw(self, *shape: int) -> Tensor:
        """Return standard normal numbers."""
        import torch

        return torch.randn(*shape, generator=self.source).to(self.dtype)

    def images(self, count: int) -> Tensor:
        """Return random images, [count, C, H, W]."""
        return self.draw(count, *self.shape)

    def twins(self) -> Iterator[Twins]:
        """Give all twins."""
        yield from self.gradient_matching()
        yield from self.trajectory_matching()
        yield self.distribution_matching()
        yield self.feature_alignment()
        yield self.training_step()

    def gradient_matching(self) -> Iterator[Twins]:
        """Give the twins of DC, DSA, IDC and DREAM."""
        import torch

        from pdd_ray.methods import gradient_matching
        from pdd_ray.methods.gradient_distance import dc_distance, idc_distance

        for name, distance, count in (
            ("DC", dc_distance("layerwise"), NEW),
            ("IDC", idc_distance("mse"), DECODED),
        ):
            functions = gradient_matching._Functions(
                self.model, distance, coupled=False, compile=False
            )
            batches = []
            for size in (REAL, count):
                weights = torch.full((size,), 1 / size, dtype=self.dtype)
                batches.append((self.images(size), torch.zeros(size, dtype=torch.int64), weights))
            real, new = [(self.theta, {}, *batch) for batch in batches]
            target = functions._eager_gradient(*real)
            if name == "DC":
                yield Twins(
                    f"{name}: gradient of {REAL} real images",
                    lambda f=functions, real=real: f._eager_gradient(*real),  # type: ignore[misc]
                    lambda f=functions, real=real: f._functional_gradient(*real),  # type: ignore[misc]
                )
            given = (*new, (), target)
            yield Twins(
                f"{name}: distance, {count} new images",
                lambda f=functions, given=given: f._eager_distance(*given),  # type: ignore[misc]
                lambda f=functions, given=given: f._functional_distance(*given),  # type: ignore[misc]
            )

    def trajectory_matching(self) -> Iterator[Twins]:
        """Give the twins of MTT: one inner step, and one step back."""
        from pdd_ray.methods.trajectory_loss import InnerFunctions

        functions = InnerFunctions(self.network)
        step = (self.theta, self.images(INNER_BATCH), self.labels)
        adjoint = self.draw(len(self.theta))
        yield Twins(
            f"MTT: inner step, {INNER_BATCH} images",
            lambda: functions._eager_gradient(*step),
            lambda: functions._functional_gradient(*step),
        )
        yield Twins(
            f"MTT: adjoint step, {INNER_BATCH} images",
            lambda: _flat(functions._eager_adjoint(*step, adjoint)),
            lambda: _flat(functions._functional_adjoint(*step, adjoint)),
        )

    def distribution_matching(self) -> Twins:
        """Return the twins of DM."""
        import torch

        from pdd_ray.methods import dm
        from pdd_ray.methods.layer_features import Embedding

        functions = dm._Functions(Embedding(self.spec, self.shape, "cpu"), compile=False)
        weights = torch.full((1, NEW), 1 / NEW, dtype=self.dtype)
        images = self.images(NEW)
        target = torch.zeros_like(functions._eager_mean(self.theta, images, weights))
        given = (self.theta, images, weights, target)
        return Twins(
            f"DM: distance, {NEW} new images",
            lambda: functions._eager_distance(*given),
            lambda: functions._functional_distance(*given),
        )

    def feature_alignment(self) -> Twins:
        """Return the twins of CAFE."""
        import torch

        from pdd_ray.methods import cafe

        functions = cafe._functions(self.spec, self.shape, "cpu", False)
        theta, weights = self.theta[: functions.numel], torch.full((1, NEW), 1 / NEW)
        weights, images = weights.to(self.dtype), self.images(NEW)
        means, _ = functions._eager_means(theta, images, weights)
        given = (theta, images, weights, tuple(self.draw(*mean.shape) for mean in means))
        return Twins(
            f"CAFE: gradient, {NEW} new images",
            lambda: [functions._eager_pull(*given)],
            lambda: [functions._functional_pull(*given)],
        )

    def training_step(self) -> Twins:
        """Return the twins of an expert's training: loss and gradient of one batch."""
        import torch

        from pdd_ray.models.compiled import functional_loss, state_of
        from pdd_ray.training.loop import mean_cross_entropy

        images, labels = self.images(EXPERT_BATCH), torch.arange(EXPERT_BATCH) % CLASSES
        loss_of = functional_loss(self.spec, self.shape, CLASSES)
        parameters = list(self.model.parameters())

        def eager() -> Sequence[Tensor]:
            loss = mean_cross_entropy(self.model, images, labels)
            return [loss.detach(), *torch.autograd.grad(loss, parameters)]

        def functional() -> Sequence[Tensor]:
            loss = loss_of(state_of(self.model), images, labels)
            return [loss.detach(), *torch.autograd.grad(loss, parameters)]

        return Twins(f"expert: loss and gradient, {EXPERT_BATCH} images", eager, functional)


def _flat(result: tuple[Sequence[Tensor], Tensor]) -> list[Tensor]:
    return [*result[0], result[1]]


def paired(twins: Twins, pairs: int) -> list[tuple[float, float]]:
    """Return the CPU seconds of a call of the eager and of the functional form, in turn."""
    forms = (twins.eager, twins.functional)
    for form in forms:  # warm up
        form()
    calls = max(1, round(LEAST_SECONDS / max(_seconds(twins.eager, 1), 1e-4)))
    times = []
    for pair in range(pairs):
        first = pair % 2
        found = {index: _seconds(forms[index], calls) for index in (first, 1 - first)}
        times.append((found[0], found[1]))
    return times


def _seconds(form: Call, calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        form()
    return (time.process_time() - started) / calls


def agreement(single: Twins, double: Twins) -> str:
    """Return whether float32 results have the same bytes, and how far float64 ones differ."""
    import torch

    pairs = zip(single.eager(), single.functional(), strict=True)
    same = all(torch.equal(*pair) for pair in pairs)
    differences = [
        float((one - other).norm() / one.norm())
        for one, other in zip(double.eager(), double.functional(), strict=True)
    ]
    return f"{'yes' if same else 'no':>7} {max(differences):9.1e}"


def measure(width: int, pairs: int) -> None:
    """Print a table of all twins of networks of ``width``."""
    import torch

    from pdd_ray.core.memory import freed_memory_is_reused

    torch.set_num_threads(1)
    print(f"\nwidth {width}, depth 3, images of 3x{SIDE}x{SIDE}, one thread, {pairs} pairs")
    print(f"{'':>40} {'eager, ms':>9}   torch.func : eager       bytes   float64")
    problems = [Problem(width, dtype) for dtype in (torch.float32, torch.float64)]
    with freed_memory_is_reused():  # as steps run
        for single, double in zip(*(problem.twins() for problem in problems), strict=True):
            times = paired(single, pairs)
            ratios = [functional / eager for eager, functional in times]
            milliseconds = 1000 * statistics.median(eager for eager, _ in times)
            print(f"{single.name:>40} {milliseconds:9.1f}   {statistics.median(ratios):5.3f} "
                  f"({min(ratios):.3f} to {max(ratios):.3f}) {agreement(single, double)}",
                  flush=True)  # fmt: skip


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="torch.func without compiling against autograd.")
    parser.add_argument("--pairs", type=int, default=9, help="pairs of timed calls")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128], help="of the networks")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.pairs)
        return
    for width in arguments.widths:
        options: list[Any] = ["--measure", width, "--pairs", arguments.pairs]
        command = [sys.executable, __file__, *map(str, options)]
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)


if __name__ == "__main__":
    main()
