"""The plots of the sweep, drawn anew, as data URIs in the page."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pdd_analysis.plots.kinds import KINDS
from pdd_ray.results.plots import draw_plots
from pdd_ray.results.report.pictures import Picture, data_uri

if TYPE_CHECKING:
    from pdd_ray.results.report.budget import Budget
    from pdd_ray.results.report.snapshot import Snapshot


def read_plots(snapshot: Snapshot, budget: Budget) -> list[Picture]:
    """Return the plots for which the sweep has data, drawn anew."""
    if not snapshot.finished:
        return []
    with TemporaryDirectory() as folder:
        paths = draw_plots(
            snapshot.sweep.name, snapshot.finished, snapshot.artifacts, Path(folder), "svg"
        )
        plots = [Picture(KINDS[path.stem], data_uri(path)) for path in paths]
    return [plot for plot in plots if budget.take(len(plot.uri))]
