"""The sweep's plots, as data URIs."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pdd_analysis.plots.kinds import KINDS
from pdd_ray.results.plotting import plot_files
from pdd_ray.results.report.pictures import Picture, data_uri

if TYPE_CHECKING:
    from pdd_ray.results.report.budget import Budget
    from pdd_ray.results.report.snapshot import Results


def read_plots(results: Results, budget: Budget) -> list[Picture]:
    """Return the plots for which the sweep has data, drawn anew."""
    if not results.finished:
        return []
    with TemporaryDirectory() as folder:
        paths = plot_files(results.sweep.name, results.store, Path(folder), "svg")
        plots = [Picture(KINDS[path.stem], data_uri(path)) for path in paths]
    return [plot for plot in plots if budget.take(len(plot.uri))]
