"""Reading what a store has of sweeps: states, tables, plots, pictures, pages, distilled sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pdd_ray.api.stores import StoreLike, existing_store
from pdd_ray.api.sweeps import Sweep, saved
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdd_ray.data.synthetic_set import SyntheticSet
    from pdd_ray.results.saved_sweeps import SweepStatus


def status(sweep: Sweep | None = None, *, store: StoreLike = None) -> list[SweepStatus]:
    """Return how far sweeps of the store are, as ``pdd-ray status`` does.

    Args:
        sweep: A sweep, or a collection of sweeps; all of the store if not given.
        store: The store.

    Raises:
        ConfigError: if the sweep was not run on the store.
        StoreError: if there is no store, or it can't be read.
    """
    from pdd_ray.results.saved_sweeps import read_status

    opened = existing_store(store)
    if sweep is None:
        names = opened.sweep_names()
    else:
        names = [each.name for each in saved(sweep, opened).sweeps]
    return [read_status(name, opened) for name in names]


def table(
    sweep: Sweep,
    *,
    store: StoreLike = None,
    form: str = "md",
    compare: str | None = None,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    baseline: str | None = None,
    choose: Sequence[str] | None = None,
) -> str:
    """Return the table of a sweep, or those of a collection, as ``pdd-ray table`` does.

    ``pdd_analysis.load`` and ``pdd_analysis.frame`` give the numbers instead of text.

    Args:
        sweep: A sweep, or a collection of sweeps.
        store: The store.
        form: ``md``, ``csv``, ``latex``, ``html`` or ``json``.
        compare: A ready-made table instead of the sweep's: ``modes``, ``growth`` or ``stages``.
        rows: Record fields or grid axes that make the rows, instead of the sweep's.
        columns: The same for the columns.
        baseline: Variant to which paired differences are given.
        choose: Grid axes of which every row shows the value with the best validation accuracy.

    Raises:
        ConfigError: if the sweep was not run on the store, or has no such table.
        StoreError: if there is no store, or it can't be read.
    """
    from pdd_ray.results.tables import COMPARISONS, Pivot, collection_text

    if compare is not None and compare not in COMPARISONS:
        raise ConfigError(f"no ready-made table {compare!r}; there is {', '.join(COMPARISONS)}")
    pivot = Pivot(_names(rows), _names(columns), baseline, _names(choose))
    if compare is not None and pivot != Pivot():
        msg = "compare is a table by itself: not with rows, columns, baseline or choose"
        raise ConfigError(msg)
    opened = existing_store(store)
    return collection_text(saved(sweep, opened), opened, form, compare, pivot)


def plots(
    sweep: Sweep,
    *,
    store: StoreLike = None,
    kinds: Sequence[str] = (),
    form: str = "png",
    output: str | Path | None = None,
) -> list[Path]:
    """Draw the plots of a sweep as ``pdd-ray plot`` does, and return where.

    Args:
        sweep: A sweep, or a collection of sweeps.
        store: The store.
        kinds: Names of ``pdd_analysis.plots.KINDS``; all that there are results for if not given.
        form: ``png`` or ``svg``.
        output: Folder to write to instead of the sweep's; of a collection, one for each below it.

    Raises:
        ConfigError: if the sweep was not run on the store, or has nothing of a kind asked for.
        StoreError: if there is no store, or it can't be read.
    """
    drawn = plots_by_sweep(sweep, store=store, kinds=kinds, form=form, output=output)
    return [path for _, paths in drawn for path in paths]


def plots_by_sweep(
    sweep: Sweep, *, store: StoreLike, kinds: Sequence[str], form: str, output: str | Path | None
) -> Iterator[tuple[str, list[Path]]]:
    """Draw the plots of one sweep after the other; yield its name and where; see :func:`plots`."""
    from pdd_ray.results.plots import plot_files, plot_folder

    opened = existing_store(store)
    found = saved(sweep, opened)
    base = None if output is None else Path(output)
    for each in found.sweeps:
        folder = plot_folder(each.name, found, opened, base)
        yield each.name, plot_files(each.name, opened, folder, form, kinds)


def pictures(
    sweep: Sweep,
    *,
    store: StoreLike = None,
    all_seeds: bool = False,
    stages: Sequence[int] = (),
    classes: Sequence[int] = (),
) -> list[Path]:
    """Write pictures of distilled images as ``pdd-ray images`` does, and return where.

    Args:
        sweep: A sweep, or a collection of sweeps.
        store: The store.
        all_seeds: A picture of every seed, not of the first one only.
        stages: Stages to show, 1-based; all that are finished if not given.
        classes: Labels of the classes to show, from 0; all if not given.

    Raises:
        ConfigError: if the sweep was not run on the store.
        StoreError: if there is no store, or it can't be read.
    """
    written = pictures_by_sweep(
        sweep, store=store, all_seeds=all_seeds, stages=stages, classes=classes
    )
    return [path for _, paths in written for path in paths]


def pictures_by_sweep(
    sweep: Sweep,
    *,
    store: StoreLike,
    all_seeds: bool,
    stages: Sequence[int],
    classes: Sequence[int],
) -> Iterator[tuple[str, list[Path]]]:
    """Write the pictures of one sweep after the other; yield its name and where.

    See :func:`pictures`.
    """
    from pdd_ray.results.pictures import write_pictures

    opened = existing_store(store)
    for each in saved(sweep, opened).sweeps:
        yield (
            each.name,
            write_pictures(each.name, opened, all_seeds=all_seeds, stages=stages, classes=classes),
        )


def write_report(
    sweep: Sweep, *, store: StoreLike = None, output: str | Path | None = None
) -> list[Path]:
    """Write one HTML page about a sweep as ``pdd-ray report`` does, and return where.

    Args:
        sweep: A sweep; or a collection, for which there is a page that leads to the others.
        store: The store.
        output: File to write instead of ``report.html`` in the sweep's folder; the folder of the
            pages for a collection.

    Raises:
        ConfigError: if the sweep was not run on the store.
        StoreError: if there is no store, or it can't be read.
    """
    from pdd_ray.results.report.page import write_report as write_page
    from pdd_ray.results.report.page import write_reports

    opened = existing_store(store)
    found = saved(sweep, opened)
    path = None if output is None else Path(output).expanduser()
    if found.single:
        return [write_page(found.sweeps[0], opened, path)]
    return write_reports(found, opened, path)


def tensorboard_folder(sweep: Sweep | None = None, *, store: StoreLike = None) -> Path:
    """Return the folder that ``pdd-ray tb`` shows: the runs of a sweep, or all of the store.

    Args:
        sweep: A sweep, or a collection of sweeps; all of the store if not given.
        store: The store.

    Raises:
        ConfigError: if the sweep was not run on the store.
        StoreError: if there is no store, or it can't be read.
    """
    from pdd_ray.results.tensorboard_runs import link_runs_of

    opened = existing_store(store)
    return opened.tensorboard() if sweep is None else link_runs_of(saved(sweep, opened), opened)


def load_set(source: str | Path, *, store: StoreLike = None) -> SyntheticSet:
    """Return a distilled set, the images of a stage and of all before it.

    Args:
        source: A folder with ``synthetic.safetensors``, or that file; or the label or key of a
            stage in the store (``pdd/seed0/stage2``), or the beginning of either.
        store: The store.

    Raises:
        ConfigError: if no stage, or more than one, is called so, or it is not finished.
        FormatError: if the file is not a distilled set of this version.
        StoreError: if there is no store.
    """
    from pdd_ray.core.artifact_files import SYNTHETIC_SET
    from pdd_ray.data.synthetic_set import load_synthetic_set
    from pdd_ray.results.saved_sweeps import find_step

    path = Path(source).expanduser()
    if path.name == SYNTHETIC_SET:
        return load_synthetic_set(path.parent)
    if path.is_dir():
        return load_synthetic_set(path)
    opened = existing_store(store)
    step = find_step(str(source), opened)
    folder = opened.folder(step.key)
    if not opened.exists(step.key):
        msg = f"{step.label} is not finished yet; `pdd-ray status` tells how far its sweep is"
        raise ConfigError(msg)
    if not (folder / SYNTHETIC_SET).is_file():
        msg = f"{step.label} ({step.kind}) makes no images; stages do: pdd/seed0/stage2"
        raise ConfigError(msg)
    return load_synthetic_set(folder)


def _names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
