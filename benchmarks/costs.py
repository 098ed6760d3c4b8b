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
``python benchmarks/costs.py --paper``
    writes the numbers of docs/paper_sweeps.md and of the headers of sweeps/paper.

Times are CPU times of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import pdd_ray
from pdd_ray.core.steps import execute
from pdd_ray.core.work import QUANTITIES, Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pdd_ray.core.steps import Step

ROOT = Path(__file__).parents[1]
COUNTS = ROOT / "pdd_ray" / "planning" / "unit_counts.py"
RATES = ROOT / "pdd_ray" / "planning" / "cpu_rates.py"
PAGE = ROOT / "docs" / "costs.md"
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


FITTED = (
    Grid("fit, 16x16", side=16, depth=3, batch=64, real=64, new=2),
    Grid("fit, 32x32", side=32, depth=3, batch=128, real=32, new=4, scale=0.5),
)
CHECKED = (Grid("32x32", side=32, depth=3, batch=96, real=48, new=3),)
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
    mtt = {
        "name": "mtt",
        "iterations": often(3),
        "inner_steps": 5,
        "max_start_epoch": 1,
        "expert_epochs": 1,
        "selection": {**NO_CHOICE, "every": often(3), "epochs": often(20)},
    }
    yield "mtt", {**base, "method": mtt}
    methods: dict[str, dict[str, Any]] = {
        "dc": {"iterations": 1, "outer_loop": often(2), "inner_loop": often(4)},
        "dsa": {"iterations": 1, "outer_loop": often(2), "inner_loop": often(4)},
        "dm": {"iterations": often(6)},
        "cafe": {"iterations": 1, "max_updates": 2, "max_network_epochs": often(4)},
        "idc": {"iterations": 1, "inner_loop": often(2), "network_images": 2 * grid.batch},
        "dream": {"iterations": 1, "inner_loop": often(2), "network_images": 2 * grid.batch},
    }
    for name, changes in methods.items():
        method = {"name": name, "real_batch_size": grid.real, "bank_size": 1, **changes}
        stages = {"count": 2, "images_per_class": grid.new}
        yield name, {**base, "method": method, "stages": stages}
    one = {"count": 1, "images_per_class": grid.new}
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
            for name, sweep in sweeps(grid, width):
                document = {**sweep, "name": f"costs-{name}", "data": data, "seeds": [seed]}
                plan = pdd_ray.plan(document, store=Path(folder) / "store")
                store = plan.prepared.store.open()
                for step in plan.missing:
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


def timings(grids: Iterable[Grid]) -> list[Timed]:
    """Return the times of the steps of ``grids``, after a run that loads what is loaded once."""
    for _ in timed_steps(Grid("warm", 8, 2, 32, 16, 1, 0.01), (8,)):
        pass
    found = []
    for grid in grids:
        for each in timed_steps(grid):
            print(
                f"{each.grid:<12} {each.kind:<28} {each.width:>4} {each.seconds:8.2f} s", flush=True
            )
            found.append(each)
    return found


def fitted_rates(timed: Iterable[Timed]) -> tuple[dict[str, float], float]:
    """Return seconds per unit of every quantity, and seconds beside the work of a step."""
    from scipy.optimize import nnls

    timed = list(timed)
    matrix = np.array([[*astuple(each.work), 1.0] for each in timed])
    seconds = np.array([each.seconds for each in timed])
    scaled = matrix / seconds[:, None]
    columns = scaled.max(axis=0)
    weights = np.ones(len(timed))
    for _ in range(30):  # least absolute relative errors: a few odd steps don't bend the rates
        rows = scaled / columns * weights[:, None]
        solution, _ = nnls(rows, weights)
        errors = np.abs(scaled / columns @ solution - 1)
        weights = 1 / np.sqrt(np.maximum(errors, 0.02))
    *rates, overhead = solution / columns
    return dict(zip(QUANTITIES, map(float, rates), strict=True)), float(overhead)


def main() -> int:
    """Do what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("count", "fit", "measure", "paper"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--times", type=Path, help="file of times to add to, and to read")
    options = parser.parse_args()
    if options.count:
        write_counts()
    if options.fit:
        found = timings(FITTED)
        Path("/tmp/costs/fit_times.json").write_text(json.dumps([asdict(t) for t in found]))
        print(fitted_rates(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
