"""What bfloat16 and channels last do to experts: accuracy on held-out images, and CPU time.

Run ``python benchmarks/number_formats.py FOLDER`` with a folder of train/<class>/* and
test/<class>/* of 32x32 images; about half an hour on one core. Networks of width 32 are trained as
experts are, on images pooled to 16x16, in every format with the same draws; what counts is the
accuracy of the last snapshot on the validation slice. Results: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import TYPE_CHECKING, Any

import torch

from pdd_ray.configuration.load import sweep_from
from pdd_ray.core.steps import execute
from pdd_ray.core.store import Store
from pdd_ray.data.dataset import load_dataset
from pdd_ray.data.facts import read_facts
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.registry import read_network
from pdd_ray.planning.sweep_plan import plan_sweep
from pdd_ray.training.loop import accuracy
from pdd_ray.training.trajectories import open_trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdd_ray.core.steps import Step

FORMATS: dict[str, dict[str, Any]] = {
    "float32": {},
    "channels last": {"channels_last": True},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, channels last": {"precision": "bfloat16", "channels_last": True},
}


def steps_of(
    root: str, formats: dict[str, Any], seed: int, epochs: int, store: Store
) -> list[Step]:
    """Return the step of one expert, after that of its data."""
    sweep = {
        "name": "formats",
        "seeds": [seed],
        "data": {
            "source": "image_folder", "root": root, "pool": 2, "preprocessing": "zca",
            "validation_fraction": 0.1,
        },
        "model": {"name": "convnet", "width": 32, "depth": 3},
        "experts": {
            "count": 1, "epochs": epochs, "batch_size": 128, "learning_rate": 0.03, **formats,
        },
        "method": {"name": "mtt", "max_start_epoch": 2, "iterations": 1},
        "stages": {"count": 1, "images_per_class": 1},
    }  # fmt: skip
    loaded = sweep_from(sweep)
    plan = plan_sweep(loaded.spec, loaded.experiments, lambda spec: read_facts(spec, store.facts))
    return [step for step in plan.steps if step.operation.name in ("data", "expert")][:2]


def measure(steps: Sequence[Step], store: Store) -> tuple[float, float]:
    """Return the expert's accuracy on the validation slice and the CPU seconds of its step."""
    for step in steps:
        started = time.process_time()
        execute(step.call, store)
        seconds = time.process_time() - started
    expert = steps[-1]
    dataset = load_dataset(store.folder(expert.inputs["data"].key), "cpu")
    spec = read_network(expert.config["model"])
    model = create_model(spec, dataset.shape, dataset.num_classes, torch.Generator())
    trajectory = open_trajectory(store.folder(expert.key))
    last = trajectory.length - 1
    FlatModel(model).load(model, trajectory.snapshots(0, last)[1])
    return accuracy(model, dataset.validation_images, dataset.validation_labels), seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Experts in other formats.")
    parser.add_argument("folder", help="class folders of images")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in FORMATS}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder).open()
        for seed in range(arguments.seeds):
            for name, formats in FORMATS.items():
                steps = steps_of(arguments.folder, formats, seed, arguments.epochs, store)
                found[name].append(measure(steps, store))
                print(f"seed {seed}, {name}: {found[name][-1]}", flush=True)
    plain = found["float32"]
    print(f"\n{arguments.epochs} epochs, {arguments.seeds} seeds, one thread")
    print(f"{'':>24} accuracy (least to most)   minus float32, mean +- s.e.   CPU s : float32")
    for name, values in found.items():
        accuracies = [value for value, _ in values]
        gains = [value - other for (value, _), (other, _) in zip(values, plain, strict=True)]
        ratio = statistics.median(s / t for (_, s), (_, t) in zip(values, plain, strict=True))
        error = statistics.stdev(gains) / len(gains) ** 0.5
        spread = (
            f"{statistics.mean(accuracies):.4f} ({min(accuracies):.4f} to {max(accuracies):.4f})"
        )
        print(f"{name:>24} {spread}   {statistics.mean(gains):+.4f} +- {error:.4f}   {ratio:.2f}")


if __name__ == "__main__":
    main()
