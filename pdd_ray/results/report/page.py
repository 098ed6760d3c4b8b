"""Putting the page of a sweep together and writing it; a collection gets one page per sweep."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from pdd_ray.configuration.load import resolved
from pdd_ray.core import sweep_files
from pdd_ray.core.files import write_text
from pdd_ray.results.report.budget import Budget
from pdd_ray.results.report.experiments import read_experiments
from pdd_ray.results.report.pictures import read_pictures
from pdd_ray.results.report.plots import read_plots
from pdd_ray.results.report.progress import read_progress
from pdd_ray.results.report.provenance import read_provenance
from pdd_ray.results.report.rendering import render
from pdd_ray.results.report.resources import read_resources
from pdd_ray.results.report.snapshot import read_snapshot
from pdd_ray.results.report.sparkline import HEIGHT, WIDTH
from pdd_ray.results.report.tables import read_tables
from pdd_ray.results.saved_sweeps import read_status

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.configuration.expand import LoadedSweep
    from pdd_ray.configuration.load import Collection
    from pdd_ray.core.store import Store

PICTURE_BYTES = 5_000_000
PLOT_BYTES = 2_000_000
LOG_BYTES = 3_000_000
"""What a page holds at most of pictures, plots and logs; the rest is named, not shown."""


INDEX_FILE = "index.html"
"""File that leads to the pages of a collection, in the same folder."""


def report_html(sweep: LoadedSweep, store: Store, *, now: float | None = None) -> str:
    """Return one HTML page about ``sweep``, which was run on ``store``, as far as it is.

    The page needs no other file and no network: styles, plots and pictures lie in it. It shows
    plan and state, tables, plots, pictures of distilled images, failures, every experiment with
    its settings, curves and logs, what the steps took, and where the results come from.

    Args:
        sweep: The sweep as it was run last (:func:`pdd_ray.results.saved_sweeps.find_saved_sweep`).
        store: The store; only read, except that facts of the data may be remembered in it.
        now: Time of the page in seconds since the epoch; the present if not given.

    Raises:
        StoreError: if steps, records or an artifact can't be read.
    """
    now = time.time() if now is None else now
    snapshot = read_snapshot(sweep, store)
    pictures, plots, logs = Budget(PICTURE_BYTES), Budget(PLOT_BYTES), Budget(LOG_BYTES)
    return render(
        "report.html",
        now,
        name=sweep.name,
        description=sweep.spec.description,
        sweep=sweep.spec,
        store=str(store.root),
        width=WIDTH,
        height=HEIGHT,
        planned=len(snapshot.planned),
        finished=len(snapshot.finished),
        experiment_count=len(snapshot.steps_by_experiment),
        progress=read_progress(snapshot, now),
        tables=read_tables(snapshot),
        plots=read_plots(snapshot, plots),
        rows=read_pictures(snapshot, pictures),
        settings=read_experiments(snapshot, logs),
        resources=read_resources(snapshot),
        provenance=read_provenance(snapshot),
        configuration=json.dumps(resolved(sweep.spec), indent=1),
        left_out={"pictures": pictures.left_out, "plots": plots.left_out, "logs": logs.left_out},
    )


def write_report(sweep: LoadedSweep, store: Store, path: Path | None = None) -> Path:
    """Write the page of ``sweep`` to ``path`` or beside its records, and return where.

    Raises:
        StoreError: if steps, records or an artifact can't be read.
    """
    path = path or store.sweep_folder(sweep.name) / sweep_files.REPORT
    write_text(path, report_html(sweep, store))
    return path


def write_reports(collection: Collection, store: Store, folder: Path | None = None) -> list[Path]:
    """Write a page per sweep of ``collection`` to ``folder``, and one that leads to them.

    Args:
        collection: Sweeps that were run on ``store``.
        store: The store.
        folder: Where to write; the collection's own folder in the store if not given.

    Returns:
        The leading page and the others.

    Raises:
        StoreError: if steps, records or an artifact can't be read.
    """
    folder = folder or store.sweep_folder(collection.name)
    statuses = [read_status(sweep.name, store) for sweep in collection.sweeps]
    names = [f"{sweep.name}.html" for sweep in collection.sweeps]
    text = render(
        "index.html",
        time.time(),
        name=collection.name,
        description=collection.description,
        pages=list(zip([sweep.spec for sweep in collection.sweeps], names, statuses, strict=True)),
        alone=sum(len(status.steps) for status in statuses),
        together=len({step.key for status in statuses for step in status.steps}),
    )
    pages = [
        write_report(sweep, store, folder / name)
        for sweep, name in zip(collection.sweeps, names, strict=True)
    ]
    write_text(folder / INDEX_FILE, text)
    return [folder / INDEX_FILE, *pages]
