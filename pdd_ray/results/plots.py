"""The plots of a sweep, and the training curves in them, made from the store alone."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from pdd_analysis.plots.courses import Curve
from pdd_analysis.plots.kinds import KINDS, draw
from pdd_ray.core.artifact_files import TRAINING_CURVE
from pdd_ray.core.artifacts import Artifacts
from pdd_ray.core.errors import ConfigError, DamagedArtifactError
from pdd_ray.results.saved_sweeps import read_evaluations

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdd_ray.configuration.load import Collection
    from pdd_ray.core.records import Record
    from pdd_ray.core.store import Store

StageCurve: TypeAlias = tuple[list[int], list[float]]
"""Epochs and accuracies of one stage."""


def plot_files(
    sweep: str, store: Store, folder: Path, form: str = "png", kinds: Sequence[str] = ()
) -> list[Path]:
    """Draw plots of the sweep of this name to ``folder``, named by their kind.

    Args:
        sweep: Name of a sweep that was run on ``store``.
        store: The store.
        folder: Where the files are written.
        form: ``png`` or ``svg``.
        kinds: Names of ``pdd_analysis.plots.KINDS``; all that there are results for if not given.

    Raises:
        ConfigError: if a kind was asked for and there is nothing to draw.
        StoreError: if evaluations can't be read.
    """
    artifacts = Artifacts(store)
    _, finished = read_evaluations(sweep, store, artifacts)
    return draw_plots(sweep, finished, artifacts, folder, form, kinds)


def draw_plots(
    sweep: str,
    finished: Sequence[Record],
    artifacts: Artifacts,
    folder: Path,
    form: str = "png",
    kinds: Sequence[str] = (),
) -> list[Path]:
    """Draw what :func:`plot_files` does of evaluations that were read already."""
    curves = read_curves(finished, artifacts.store, artifacts)
    paths = []
    for kind in kinds or KINDS:
        try:
            paths.append(draw(kind, finished, curves, folder / f"{kind}.{form}"))
        except ConfigError as error:
            if kinds:
                raise ConfigError(f"plot {kind} of {sweep}: {error}") from error
    return paths


def plot_folder(sweep: str, found: Collection, store: Store, output: Path | None) -> Path:
    """Return where plots of ``sweep`` are written: its own folder, or ``output``.

    Of a collection each sweep has a folder below ``output``.
    """
    if output is None:
        return store.sweep_folder(sweep)
    return output if found.single else output / sweep


def read_curves(
    records: Sequence[Record], store: Store, artifacts: Artifacts | None = None
) -> list[Curve]:
    """Return the training curves of the evaluations that have one, after the most stages.

    A progressive evaluation of P stages continues that of P - 1 stages: its curve is theirs and
    its own. In mode union every number of stages is a training of its own, and the last counts.
    """
    reader = _CurveReader(artifacts or Artifacts(store))
    stages = {record.key: reader.stages(record.key) for record in records}
    watched = [record for record in records if stages[record.key]]
    several = len({record.model for record in watched}) > 1
    settings: dict[str, list[Record]] = {}
    for record in watched:
        axes = [f"{name}={value}" for name, value in record.axes.items()]
        model = [record.model] if several else []
        setting = ", ".join([record.variant, *axes, *model, record.mode])
        settings.setdefault(setting, []).append(record)
    most = {name: max(each.stages for each in members) for name, members in settings.items()}
    return [
        Curve(setting, (record.seed, record.network), tuple(stages[record.key]))
        for setting, members in settings.items()
        for record in members
        if record.stages == most[setting]
    ]


class _CurveReader:
    """Reads the training curves of evaluations, that of each step once."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._own = cache(self._read)

    def stages(self, key: str) -> list[StageCurve]:
        """Return the curve of each stage up to the evaluation ``key``; none without."""
        stages: list[StageCurve] = []
        current: str | None = key
        while current is not None:
            own = self._own(current)
            if own is None:
                return []
            stages.append(own)
            making = self._artifacts.making(current)
            current = None if making is None else making.inputs.get("previous")
        return stages[::-1]

    def _read(self, key: str) -> StageCurve | None:
        """Return epochs and accuracies of the step ``key``; None if it has no curve."""
        try:
            content = json.loads(self._artifacts.store.read(key, TRAINING_CURVE))
            return content["epochs"], content["validation_accuracy"]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedArtifactError(key, f"{TRAINING_CURVE} can't be read ({error})") from error
