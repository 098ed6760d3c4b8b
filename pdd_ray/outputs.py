"""What a sweep shows: its table, its plot and its pictures, made from the store alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from analysis.comparisons import growth, modes, stages_versus_images_per_class
from analysis.tables import make_table, render
from pdd_ray.errors import ConfigError
from pdd_ray.files import write_text
from pdd_ray.progressive import planned_records
from pdd_ray.saved_sweeps import read_evaluations, read_steps
from pdd_ray.specs.expand import BASE_VARIANT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from analysis.cells import Table
    from pdd_ray.fingerprint import Json
    from pdd_ray.progressive import SweepPlan
    from pdd_ray.records import Record
    from pdd_ray.saved_sweeps import SavedStep
    from pdd_ray.specs.sweep import SweepSpec
    from pdd_ray.store import Store

STAGE_PICTURE = "images.png"
"""File of a stage's artifact that shows its new images."""


COMPARISONS = {"modes": modes, "growth": growth, "stages": stages_versus_images_per_class}
"""Ready-made tables by name, besides the one that a sweep describes."""


def table_text(
    sweep: SweepSpec, store: Store, form: str = "md", comparison: str | None = None
) -> str:
    """Return a table of ``sweep``, which was run on ``store``, as text.

    Args:
        sweep: The sweep.
        store: The store.
        form: ``md``, ``csv``, ``latex`` or ``json``.
        comparison: A name of :data:`COMPARISONS`; the sweep's own table if not given.

    Raises:
        ConfigError: for another form, or for table fields that the records don't have.
        StoreError: if the evaluations can't be read.
    """
    planned, finished = read_evaluations(sweep.name, store)
    if comparison is None:
        return render(_make_table(sweep, planned, finished), form)
    table = COMPARISONS[comparison](
        finished, choose=_chosen(sweep), planned=planned, order=_orders(sweep, planned)
    )
    return render(table, form)


def _make_table(sweep: SweepSpec, planned: Sequence[Record], finished: Sequence[Record]) -> Table:
    return make_table(
        finished,
        sweep.table.rows,
        sweep.table.columns,
        baseline=sweep.table.baseline,
        choose=_chosen(sweep),
        planned=planned,
        order=_orders(sweep, planned),
    )


def _chosen(sweep: SweepSpec) -> tuple[str, ...] | None:
    return sweep.table.choose.over if sweep.table.choose else None


def check_table(plan: SweepPlan) -> None:
    """Check, before anything is run, that the table of a sweep can be made.

    Raises:
        ConfigError: for table fields that its records won't have.
    """
    sweep = plan.sweep
    baseline = sweep.table.baseline
    if baseline is not None and baseline not in (sweep.variants or {BASE_VARIANT: {}}):
        variants = ", ".join(sweep.variants) or BASE_VARIANT
        raise ConfigError(f"table.baseline {baseline!r} is not a variant; there is {variants}")
    _make_table(sweep, planned_records(plan), ())


def write_outputs(sweep: SweepSpec, store: Store, *, pictures: bool = True) -> str | None:
    """Write the table, the plot and the pictures of ``sweep``.

    Returns:
        The table as Markdown, None as long as no evaluation is finished.

    Args:
        sweep: The sweep.
        store: The store it was run on.
        pictures: Write the plot and the pictures again even if they are there.

    Raises:
        ConfigError: if the records don't have the fields of the table.
        StoreError: if the evaluations can't be read.
    """
    folder = store.sweep_folder(sweep.name)
    planned, finished = read_evaluations(sweep.name, store)
    text = render(_make_table(sweep, planned, finished), "md")
    write_text(folder / "table.md", text)
    plot = folder / "accuracy.png"
    several = len({record.stages for record in planned}) > 1
    if finished and several and (pictures or not plot.exists()):
        write_plot(finished, plot)
    if pictures or not (folder / "images").exists():
        write_pictures(sweep.name, store)
    return text if finished else None


def write_plot(records: Iterable[Record], path: Path) -> Path:
    """Draw accuracy against the number of stages to ``path``, and return ``path``."""
    from analysis.plots import accuracy_per_stage

    return accuracy_per_stage(records, path)


def write_pictures(
    sweep: str, store: Store, *, all_seeds: bool = False, stages: Collection[int] = ()
) -> list[Path]:
    """Write one picture per experiment, its stages side by side, and return where.

    Args:
        sweep: Name of a sweep that was run on ``store``.
        store: The store.
        all_seeds: One picture per seed, instead of the first seed of each setting only.
        stages: Stages to show, 1-based; all that are finished if not given.

    Raises:
        StoreError: if the steps or a stage's picture can't be read.
    """
    steps = {step.key: step for step in read_steps(sweep, store)}
    planned, _ = read_evaluations(sweep, store)
    paths = []
    for name, last in _last_stages(planned, all_seeds=all_seeds).items():
        chain = dict(enumerate(_finished_chain(last, steps, store), start=1))
        shown = {number: step for number, step in chain.items() if not stages or number in stages}
        if shown:
            name = "-".join([name, *(f"stage{number}" for number in shown if stages)])
            paths.append(_write_picture(store.sweep_folder(sweep) / "images" / name, shown, store))
    return paths


def _write_picture(path: Path, stages: Mapping[int, SavedStep], store: Store) -> Path:
    from analysis.images import stage_grid

    pictures = [store.folder(stage.key) / STAGE_PICTURE for stage in stages.values()]
    titles = [f"stage {number}" for number in stages]
    return stage_grid(pictures, path.with_name(f"{path.name}.png"), titles)


def _last_stages(planned: Iterable[Record], *, all_seeds: bool) -> dict[str, str]:
    """Return the key of the last stage of each experiment, by a name for its picture."""
    last: dict[tuple[str, str], Record] = {}
    for record in planned:
        if record.stages == record.total_stages:
            setting = (record.variant, str(record.axes))
            seed = str(record.seed) if all_seeds else ""
            last.setdefault((str(setting), seed), record)
    return {_picture_name(record): record.stage_key for record in last.values()}


def _picture_name(record: Record) -> str:
    axes = [f"{name.rsplit('.', 1)[-1]}={value}" for name, value in record.axes.items()]
    return re.sub(r"[^\w.=+-]+", "_", "-".join([record.variant, *axes, f"seed{record.seed}"]))


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


def _orders(sweep: SweepSpec, planned: Iterable[Record]) -> dict[str, list[Json]]:
    """Return values in the order of the sweep: its variants, and the axes as they come."""
    orders: dict[str, list[Json]] = {"variant": list(sweep.variants)}
    for record in planned:
        for name, value in record.axes.items():
            values = orders.setdefault(name, [])
            if value not in values:
                values.append(value)
    return orders
