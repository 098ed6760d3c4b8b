"""What estimates of time are made of: counts of operators, rates of a CPU core, and their errors.

``python benchmarks/costs.py --count``
    counts operators, arithmetic and bytes of the units of all steps in their real functions, and
    writes ``pdd_ray/planning/unit_counts.py``. To be run again when a step's functions change.
``python benchmarks/costs.py --fit``
    times real steps of every kind, and writes the rates of this CPU core that explain them best to
    ``pdd_ray/planning/cpu_rates.py``.
``python benchmarks/costs.py --measure``
    times other steps of every kind, compares them with the estimates, and writes the table in
    docs/costs.md. Ends with exit code 1 if one is more than a factor 1.5 off.
Times are CPU times of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, astuple, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import pdd_ray
from pdd_ray.core.steps import execute, topological
from pdd_ray.core.work import QUANTITIES, Work
from pdd_ray.planning.devices import cpu_seconds
from pdd_ray.planning.estimate import OVERHEAD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pdd_ray.core.steps import Step

ROOT = Path(__file__).parents[1]
COUNTS = ROOT / "pdd_ray" / "planning" / "unit_counts.py"
RATES = ROOT / "pdd_ray" / "planning" / "cpu_rates.py"
SHORTEST = 0.1
"""Seconds of steps that say something of the rates."""
PAGE = ROOT / "docs" / "costs.md"
START, END = "<!-- measured from here -->", "<!-- to here -->"
WIDTHS = (16, 32, 64, 128)
LARGEST_FACTOR = 1.5
"""Of an estimate's error, of every kind of step at every width."""


# --- counting -------------------------------------------------------------------------------------


def write_counts() -> None:
    """Count all units and write the table that planning reads."""
    from pdd_ray.testing.counted_units import all_cases
    from pdd_ray.testing.unit_fit import ESTIMATED, fitted_counts, fitted_memory

    cases = all_cases()
    counts = {**fitted_counts(cases), **ESTIMATED}
    lines = [
        '"""Counts of the units of computation; written by benchmarks/costs.py --count.',
        "",
        "By unit and quantity, what each term of the network's size adds (docs/costs.md).",
        '"""',
        "",
        "from typing import Final",
        "",
        "Terms = dict[str, float]",
        "",
        f"COUNTS: Final[dict[str, dict[str, Terms]]] = {dict(sorted(counts.items()))!r}",
        f"MEMORY: Final[dict[str, Terms]] = {fitted_memory(cases)!r}",
        '"""Bytes that units hold beside parameters and data."""',
    ]
    COUNTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    format_file(COUNTS)


def format_file(path: Path) -> None:
    """Format a file of Python as the others are."""
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(path)], check=True)


# --- measuring ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """Sizes of the steps that are timed.

    Attributes:
        name: Of the grid.
        side: Of the images.
        depth: Of the ConvNets.
        batch: Images per step of trainings on real images.
        real: Real images per class of methods that match classes.
        new: Images per class and stage.
        scale: What all steps take about, in multiples of a second at width 32.
    """

    name: str
    side: int
    depth: int
    batch: int
    real: int
    new: int
    scale: float = 1.0


FITTED = (Grid("16x16", side=16, depth=3, batch=64, real=64, new=2),)
CHECKED = (Grid("32x32", side=32, depth=3, batch=96, real=48, new=3, scale=0.3),)
WARM = Grid("warm", side=8, depth=2, batch=32, real=16, new=1, scale=0.01)
CLASSES, PER_CLASS = 10, 128
NO_CHOICE = {"every": 10**6, "networks": 1, "epochs": 1}


@dataclass(frozen=True)
class Timed:
    """A step that was timed.

    Attributes:
        grid: Name of the grid.
        kind: Kind of step, with its method.
        width: Of the network.
        work: What planning says it computes.
        seconds: CPU seconds.
    """

    grid: str
    kind: str
    width: int
    work: Work
    seconds: float


def sweeps(grid: Grid, width: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield sweeps that have every kind of step, with about as much work at every width."""
    pixels = (grid.side / 32) ** 2
    much = grid.scale * 32 / width / pixels

    def often(times: float, least: int = 2) -> int:
        return max(least, round(times * much))

    base: dict[str, Any] = {
        "model": {"name": "convnet", "width": width, "depth": grid.depth},
        "experts": {"count": 1, "epochs": often(2), "batch_size": grid.batch},
        "stages": {"count": 2, "images_per_class": grid.new},
        "transition": {"epochs": often(40)},
        "evaluation": {"networks": 1, "epochs": often(40)},
    }
    one = {"count": 1, "images_per_class": grid.new}
    mtt = {
        "name": "mtt",
        "iterations": often(3),
        "inner_steps": 5,
        "max_start_epoch": 1,
        "expert_epochs": 1,
        "image_learning_rate": 1e-3,  # so few epochs of experts would let the images diverge
        "step_size_learning_rate": 0.0,
        "selection": {**NO_CHOICE, "every": often(3), "epochs": often(20)},
    }
    yield "mtt", {**base, "method": mtt}
    methods: dict[str, dict[str, Any]] = {
        "dc": {"iterations": 1, "outer_loop": often(2), "inner_loop": often(4)},
        "dsa": {"iterations": 1, "outer_loop": often(2), "inner_loop": often(4)},
        "dm": {"iterations": often(20)},
        "cafe": {"iterations": 1, "max_updates": 2, "max_network_epochs": min(9, often(4))},
        "idc": {"iterations": 1, "inner_loop": often(2), "network_images": 2 * grid.batch},
        "dream": {"iterations": 1, "inner_loop": often(2), "network_images": 2 * grid.batch},
    }
    for name, changes in methods.items():
        method = {"name": name, "real_batch_size": grid.real, "bank_size": 1, **changes}
        yield name, {**base, "method": method, "stages": one}
    yield "herding", {**base, "method": "herding", "stages": one}
    full = {"networks": 1, "modes": ["full"], "full_data": {"epochs": often(2)}}
    yield "full", {**base, "method": "random", "stages": one, "evaluation": full}
    forgetting = {"epochs": often(2), "batch_size": grid.batch}
    yield "forgetting", {**base, "method": "forgetting", "stages": one, "forgetting": forgetting}
    continual = {"phases": 2, "protocol": "B"}
    yield "continual", {**base, "method": "random", "stages": one, "continual": continual}


def timed_steps(grid: Grid, widths: Iterable[int] = WIDTHS, seed: int = 0) -> Iterator[Timed]:
    """Execute the steps of the grid one by one, and yield how long each took."""
    with tempfile.TemporaryDirectory() as folder:
        data = random_images(Path(folder), grid.side)
        for width in widths:
            seen: set[str] = set()
            for name, sweep in sweeps(grid, width):
                document = {**sweep, "name": f"costs-{name}", "data": data, "seeds": [seed]}
                plan = pdd_ray.plan(document, store=Path(folder) / "store")
                store = plan.prepared.store.open()
                new = [step for step in plan.missing if kind_of(step, name) not in seen]
                for step in topological(new):
                    if store.exists(step.key):
                        continue
                    seen.add(kind_of(step, name))
                    started = time.process_time()
                    execute(step.call, store)
                    seconds = time.process_time() - started
                    yield Timed(grid.name, kind_of(step, name), width, step.cost.work, seconds)


def kind_of(step: Step, name: str) -> str:
    """Return the kind of ``step`` with what its speed may depend on."""
    operation = step.operation.name
    return f"{operation}, {name}" if operation in ("stage", "coreset") else operation


def random_images(folder: Path, side: int) -> dict[str, Any]:
    """Write random images of ten classes, and return the configuration of the data set."""
    source = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", PER_CLASS), ("test", 32)):
        shape = (count * CLASSES, side, side, 3)
        arrays[f"{split}_images"] = source.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count * CLASSES) % CLASSES
    np.savez(folder / "random.npz", **arrays)
    return {"source": "npz", "root": str(folder / "random.npz")}


def timings(grids: Iterable[Grid], options: argparse.Namespace) -> list[Timed]:
    """Return the times of the steps of ``grids``, after a run that loads what is loaded once.

    Those in the file ``options.times`` are added to, and are among them.
    """
    for _ in timed_steps(WARM, (8,)):
        pass
    found = [] if options.times is None else read_times(options.times)
    for grid, seed in product(grids, options.seeds):
        for each in timed_steps(grid, options.widths, seed):
            model = cpu_seconds(each.work) + OVERHEAD_SECONDS
            print(
                f"{each.grid:<12} {each.kind:<28} {each.width:>4} {each.seconds:8.2f} s, "
                f"modelled {model:8.2f} s",
                flush=True,
            )
            found.append(each)
            if options.times is not None:
                with options.times.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(each)) + "\n")
    names = {grid.name for grid in grids}
    return [each for each in found if each.grid in names]


def read_times(path: Path) -> list[Timed]:
    """Return what earlier runs have written to ``path``; nothing if there is no such file."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Timed(**{**row, "work": Work(**row["work"])}) for row in rows]


def factors(timed: Iterable[Timed]) -> dict[str, dict[int, list[float]]]:
    """Return modelled by measured time of steps that are not short, by kind and width."""
    found: dict[str, dict[int, list[float]]] = {}
    for each in timed:
        if each.seconds < SHORTEST:
            continue
        model = OVERHEAD_SECONDS + cpu_seconds(each.work)
        by_width = found.setdefault(each.kind, {})
        by_width.setdefault(each.width, []).append(model / each.seconds)
    return found


def table(timed: Iterable[Timed]) -> list[str]:
    """Return the table of docs/costs.md: modelled by measured time, by kind and width."""
    found = factors(timed)
    lines = [
        f"| step | {' | '.join(f'width {width}' for width in WIDTHS)} | steps |",
        f"|---|{'---|' * len(WIDTHS)}---|",
    ]
    for kind, by_width in sorted(found.items()):
        cells = [
            f"{statistics.median(by_width[width]):.2f}" if width in by_width else "-"
            for width in WIDTHS
        ]
        count = sum(map(len, by_width.values()))
        lines.append(f"| {kind} | {' | '.join(cells)} | {count} |")
    return lines


def write_page(timed: list[Timed]) -> float:
    """Write the table into docs/costs.md, and return the largest factor of a median."""
    medians = [
        statistics.median(values)
        for by_width in factors(timed).values()
        for values in by_width.values()
    ]
    worst = max(max(value, 1 / value) for value in medians)
    day = time.strftime("%Y-%m-%d")
    text = [
        START,
        f"Measured on {day}, {machine()}, with `python benchmarks/costs.py --measure`: "
        f"{len(timed)} steps. The largest factor of a median is {worst:.2f}. Steps of less than "
        f"{SHORTEST} s are left out: they take what every step takes beside its computation, "
        f"{OVERHEAD_SECONDS} s at most.",
        "",
        *table(timed),
        END,
    ]
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(before + "\n".join(text) + after, encoding="utf-8")
    return worst


def machine() -> str:
    """Return what the machine is in words."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor()
    return f"{name}, one of {os.cpu_count()} cores, Python {platform.python_version()}"


FASTEST = {"operators": 2e-6, "flops": 1e-11}
"""Seconds that no CPU core stays below, which keeps quantities apart that grow together."""
FASTEST_BYTE = 5e-11


def fitted_rates(timed: Iterable[Timed]) -> dict[str, float]:
    """Return the seconds of a unit of every quantity that explain the times best.

    Least absolute relative errors, by least squares with weights: a few odd steps don't bend them.
    """
    from scipy.optimize import lsq_linear

    timed = [each for each in timed if each.seconds >= SHORTEST]
    seconds = np.array([each.seconds for each in timed])
    scaled = np.array([astuple(each.work) for each in timed]) / seconds[:, None]
    wanted = 1 - OVERHEAD_SECONDS / seconds
    columns = scaled.max(axis=0)
    lowest = [FASTEST.get(name, FASTEST_BYTE) for name in QUANTITIES]
    weights = np.ones(len(timed))
    solution = np.zeros(len(columns))
    for _ in range(30):
        rows = scaled / columns * weights[:, None]
        bounds = (np.array(lowest) * columns, np.inf)
        solution = lsq_linear(rows, wanted * weights, bounds=bounds).x
        errors = np.abs(scaled / columns @ solution - wanted)
        weights = 1 / np.sqrt(np.maximum(errors, 0.02))
    return {
        name: float(f"{value:.3g}")
        for name, value in zip(QUANTITIES, solution / columns, strict=True)
    }


def write_rates(timed: Iterable[Timed]) -> None:
    """Write the rates that ``timed`` steps show to the module that planning reads."""
    lines = [
        '"""Seconds on a CPU core by quantity of work; written by benchmarks/costs.py --fit."""',
        "",
        "from typing import Final",
        "",
        f"CPU_SECONDS: Final[dict[str, float]] = {fitted_rates(timed)!r}",
    ]
    RATES.write_text("\n".join(lines) + "\n", encoding="utf-8")
    format_file(RATES)


def main() -> int:
    """Do what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("count", "fit", "measure"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS)
    parser.add_argument("--seeds", type=int, nargs="*", default=(0, 1, 2))
    parser.add_argument("--times", type=Path, help="file of times that is added to, and used")
    options = parser.parse_args()
    if options.count:
        write_counts()
    if options.fit:
        write_rates(timings(FITTED, options))
    if options.measure:
        return int(write_page(timings(CHECKED, options)) > LARGEST_FACTOR)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
