"""What a run leaves beside the records of a sweep: its table, its plot and its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.rendering import render
from pdd_ray.core import sweep_files
from pdd_ray.core.files import write_text
from pdd_ray.results.pictures import write_pictures
from pdd_ray.results.saved_sweeps import read_evaluations
from pdd_ray.results.tables import TableData, sweep_table

if TYPE_CHECKING:
    from pdd_ray.configuration.expand import LoadedSweep
    from pdd_ray.core.store import Store


def write_outputs(sweep: LoadedSweep, store: Store, *, pictures: bool = True) -> str | None:
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
    text = render(sweep_table(TableData.of(sweep, planned, finished)), "md")
    write_text(folder / sweep_files.TABLE, text)
    plot = folder / "accuracy.png"
    several = len({record.stages for record in planned if record.phase == 0}) > 1
    if finished and several and (pictures or not plot.exists()):
        from pdd_analysis.plots import accuracy_per_stage

        accuracy_per_stage(finished, plot)
    if pictures or not (folder / sweep_files.PICTURES).exists():
        write_pictures(sweep.name, store)
    return text if finished else None
