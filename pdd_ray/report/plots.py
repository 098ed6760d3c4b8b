"""The sweep's plots, as data URIs."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pdd_ray.report.pictures import Picture, data_uri

if TYPE_CHECKING:
    from pdd_ray.report.budget import Budget
    from pdd_ray.report.results import Results


def read_plots(results: Results, budget: Budget) -> list[Picture]:
    """Return the plots for which the sweep has data, drawn anew."""
    if not results.finished:
        return []
    from pdd_ray.outputs import write_plot

    with TemporaryDirectory() as folder:
        path = write_plot(results.finished, Path(folder) / "stages.png")
        uri = data_uri(path)
    return [Picture("accuracy against the number of stages", uri)] if budget.take(len(uri)) else []
