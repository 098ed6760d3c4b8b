"""Records made up for tests."""

from typing import Any

import numpy as np

from pdd_ray.core.records import Record


def record(accuracy: float = 0.5, **changes: Any) -> Record:  # noqa: ANN401 - any field
    """Return a record whose key follows from its settings, as the runtime's keys do."""
    values: dict[str, Any] = {
        "sweep": "example",
        "variant": "pdd",
        "seed": 0,
        "dataset": "digits",
        "method": "mtt",
        "mode": "progressive",
        "stages": 2,
        "total_stages": 2,
        "images_per_class": 5,
        "model": "convnet-w32-d2",
        "network": 0,
        "epochs": 300,
        "step_size": 0.01,
        "test_accuracy": accuracy,
        "validation_accuracy": accuracy,
        "test_images": 597,
        "seconds": 1.0,
        "stage_key": "stage",
        "axes": {},
        **changes,
    }
    values.setdefault("total_images_per_class", values["stages"] * values["images_per_class"])
    values.setdefault("key", repr(sorted(values.items(), key=lambda item: item[0])))
    return Record(**values)


def sweep(seeds: int = 2, networks: int = 3) -> list[Record]:
    """Return a sweep of one stage of six images against three stages of two, in all modes."""
    generator = np.random.default_rng(0)
    return [
        record(
            0.6 + 0.05 * stages + bonus + generator.normal(0, 0.01),
            variant=variant,
            seed=seed,
            network=network,
            stages=stages,
            total_stages=total,
            images_per_class=6 // total,
            mode=mode,
        )
        for variant, total in (("mtt", 1), ("pdd", 3))
        for stages in range(1, total + 1)
        for mode, bonus in (("progressive", 0.1), ("union", 0.05), ("sequential", 0.0))
        for seed in range(seeds)
        for network in range(networks)
    ]
