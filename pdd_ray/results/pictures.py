"""Pictures of the images that a sweep has distilled, one per experiment, from the store alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.core import artifact_files, sweep_files
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.labels import picture_label
from pdd_ray.data.set_header import class_names
from pdd_ray.results.saved_sweeps import read_planned, read_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pdd_ray.core.records import Record
    from pdd_ray.core.store import Store
    from pdd_ray.results.saved_sweeps import SavedStep


def write_pictures(
    sweep: str,
    store: Store,
    *,
    all_seeds: bool = False,
    stages: Sequence[int] = (),
    classes: Sequence[int] = (),
) -> list[Path]:
    """Write one picture per experiment, its stages side by side, and return where.

    In continual learning there is one per phase.

    Args:
        sweep: Name of a sweep that was run on ``store``.
        store: The store.
        all_seeds: One picture per seed, instead of the first seed of each setting only.
        stages: Stages to show, 1-based; all that are finished if not given.
        classes: Labels of the classes to show (of a phase, in continual learning); all if not
            given.

    Raises:
        ConfigError: for a class that there is not.
        StoreError: if the steps or a stage's picture can't be read.
    """
    steps = {step.key: step for step in read_steps(sweep, store)}
    planned = read_planned(sweep, store)
    paths = []
    for name, last in _last_stages(planned, all_seeds=all_seeds).items():
        chain = dict(enumerate(_finished_chain(last, steps, store), start=1))
        shown = {number: step for number, step in chain.items() if not stages or number in stages}
        if shown:
            parts = [*(f"stage{n}" for n in shown if stages), *(f"class{c}" for c in classes)]
            name = "-".join([name, *parts])
            path = store.sweep_folder(sweep) / sweep_files.PICTURES / name
            paths.append(_write_picture(path, shown, store, classes))
    return paths


def _write_picture(
    path: Path, stages: Mapping[int, SavedStep], store: Store, classes: Sequence[int]
) -> Path:
    from pdd_analysis.images import stage_grid

    pictures = [store.folder(stage.key) / artifact_files.PICTURE for stage in stages.values()]
    titles = [f"stage {number}" for number in stages]
    last = list(stages.values())[-1]
    names = class_names(last.key, store.folder(last.key))
    unknown = [label for label in classes if label >= len(names)]
    if unknown:
        raise ConfigError(f"there is no class {unknown[0]}: labels go from 0 to {len(names) - 1}")
    return stage_grid(
        pictures,
        path.with_name(f"{path.name}.png"),
        titles,
        class_names=names,
        classes=classes,
    )


def _last_stages(planned: Iterable[Record], *, all_seeds: bool) -> dict[str, str]:
    """Return the key of the last stage of each experiment, by a name for its picture."""
    last: dict[tuple[str, str], Record] = {}
    for record in planned:
        if record.stages == record.total_stages and record.stage_key:
            setting = (record.variant, str(record.axes), record.phase)
            seed = str(record.seed) if all_seeds else ""
            last.setdefault((str(setting), seed), record)
    return {_picture_name(record): record.stage_key for record in last.values()}


def _picture_name(record: Record) -> str:
    return picture_label(record.variant, record.axes, record.seed, record.phase)


def _finished_chain(last: str, steps: Mapping[str, SavedStep], store: Store) -> list[SavedStep]:
    """Return the stages that lead to ``last``, the first one first, as far as they are done."""
    chain: list[SavedStep] = []
    key: str | None = last
    while key is not None:
        step = steps[key]
        chain.insert(0, step)
        key = step.inputs.get("previous")
    done = [store.exists(step.key) for step in chain]
    return chain[: done.index(False)] if False in done else chain
