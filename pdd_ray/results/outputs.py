"""What a run leaves beside the records of a sweep: its table, its plot and its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.rendering import render
from pdd_ray.core import sweep_files
from pdd_ray.core.files import write_text
from pdd_ray.results.pictures import write_pictures
from pdd_ray.results.tables import sweep_table

if TYPE_CHECKING:
    from pdd_ray.core.store import Store
    from pdd_ray.results.tables import TableData


def write_outputs(data: TableData, store: Store, *, pictures: bool = True) -> str | None:
    """Write the table, the plot and the pictures of a sweep.

    Returns:
        The table as Markdown, None as long as no evaluation is finished.

    Args:
        data: The sweep with its evaluations.
        store: The store it was run on.
        pictures: Write the plot and the pictures again even if they are there.

    Raises:
        ConfigError: if the records don't have the fields of the table.
        StoreError: if the steps or a stage's picture can't be read.
    """
    name, planned, finished = data.sweep.name, data.planned, data.finished
    folder = store.sweep_folder(name)
    text = render(sweep_table(data), "md")
    write_text(folder / sweep_files.TABLE, text)
    plot = folder / "accuracy.png"
    several = len({record.stages for record in planned if record.phase == 0}) > 1
    if finished and several and (pictures or not plot.exists()):
        from pdd_analysis.plots import accuracy_per_stage

        accuracy_per_stage(finished, plot)
    if pictures or not (folder / sweep_files.PICTURES).exists():
        write_pictures(name, store)
    return text if finished else None
