"""Records: one flat JSON line per evaluation, read by the analysis without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from pdd_ray.core.dotted import grid_key
from pdd_ray.core.errors import RecordFormatError, StoreError
from pdd_ray.core.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pdd_ray.core.identities import Json


@dataclass(frozen=True)
class Record:
    """The result of one evaluation: one network, one mode, after one number of stages.

    Attributes:
        sweep: Name of the sweep.
        variant: Name of the variant (``base`` in a sweep without variants).
        seed: Seed of experts, distillation and evaluation.
        dataset: Source of the data; for image folders and .npz files their name.
        method: ``mtt``, ``random``, ...
        mode: ``progressive``, ``union``, ``sequential``, or ``full``: all real training images.
        stages: Stages evaluated (p of U_1 .. U_P); 0 in mode ``full``.
        total_stages: Stages of the experiment (P).
        images_per_class: Images per class of one stage; of the first one if they differ.
        total_images_per_class: Images per class of all evaluated stages together.
        model: Label of the architecture evaluated.
        network: Index of the network.
        epochs: Epochs per stage.
        step_size: Learned step size of the last stage evaluated.
        test_accuracy: Accuracy after the last epoch on the test split, in [0, 1].
        validation_accuracy: The same on the validation slice.
        test_images: Number of test images.
        seconds: Time of the evaluation.
        key: Identity of the evaluation step.
        stage_key: Identity of the last stage evaluated.
        protocol: ``held_out``, or ``reference``: chosen on the test split, best of several tests.
        phase: Phases of classes seen, in continual learning; 0 otherwise.
        phases: Phases of the experiment; 0 without continual learning.
        classes: Number of classes tested.
        train_images: Training images of the data set, the validation slice among them.
        stored_bytes: Size of the evaluated set, its images as float32.
        conditioning: Whether stages were conditioned on the earlier ones.
        transition: Whether stages started from networks trained on the earlier ones.
        cost_seconds: Time of all steps that lead to the evaluated set, experts and transitions
            among them; None if the store no longer has one of them.
        axes: Values of the sweep's grid axes.
    """

    sweep: str
    variant: str
    seed: int
    dataset: str
    method: str
    mode: str
    stages: int
    total_stages: int
    images_per_class: int
    total_images_per_class: int
    model: str
    network: int
    epochs: int
    step_size: float
    test_accuracy: float
    validation_accuracy: float
    test_images: int
    seconds: float
    key: str
    stage_key: str
    protocol: str = "held_out"
    phase: int = 0
    phases: int = 0
    classes: int = 0
    train_images: int = 0
    stored_bytes: int = 0
    conditioning: bool = True
    transition: bool = True
    cost_seconds: float | None = None
    axes: dict[str, Json] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """Return the record as one flat mapping, axes under their own names.

        An axis that is named like a field (``stages``) is called ``grid.stages``.
        """
        values = dict(vars(self))
        del values["axes"]
        named = {grid_key(name) if name in values else name: self.axes[name] for name in self.axes}
        return {**values, **named} if named else values


NAMES = tuple(each.name for each in fields(Record))
"""Names of the fields of records."""


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write ``records`` to ``path``, one JSON object per line."""
    encode = json.JSONEncoder(sort_keys=True).encode
    write_text(path, "".join(f"{encode(vars(record))}\n" for record in records))


def read_records(path: Path) -> list[Record]:
    """Return the records of the file ``path``.

    Raises:
        RecordFormatError: if another version wrote a line; formats are never mixed.
        StoreError: if the file can't be read, or holds something else.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return [
                _record(path, number, json.loads(line)) for number, line in enumerate(file, start=1)
            ]
    except (OSError, ValueError, TypeError) as error:
        msg = f"the records {path} can't be read ({error}); run the sweep again to write them"
        raise StoreError(msg) from error


def _record(path: Path, number: int, values: dict[str, Any]) -> Record:
    """Return the record on a line; refuse one that lacks fields of this version."""
    lacking = [name for name in NAMES if name not in values] if isinstance(values, dict) else []
    if lacking:
        named = ", ".join(lacking[:3]) + (" and others" if len(lacking) > 3 else "")
        msg = (
            f"{path}:{number}: a record of another version, without {named}; run the sweep again "
            "to write its records"
        )
        raise RecordFormatError(msg)
    return Record(**values)
