"""Links that limit TensorBoard to the runs of one sweep, or of a collection of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.core.operations import IMAGE_KINDS
from pdd_ray.results.saved_sweeps import read_steps

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pdd_ray.configuration.load import Collection
    from pdd_ray.core.store import Store
    from pdd_ray.results.saved_sweeps import SavedStep


def link_runs_of(collection: Collection, store: Store) -> Path:
    """Return a folder in ``store`` with the runs of the sweeps of ``collection`` as links.

    Raises:
        StoreError: if the steps of a sweep can't be read.
    """
    steps = [step for sweep in collection.sweeps for step in read_steps(sweep.name, store)]
    folder = store.sweep_folder(collection.name) / "tb"
    link_runs([step for step in steps if step.kind in IMAGE_KINDS], store, folder)
    return folder


def link_runs(steps: Iterable[SavedStep], store: Store, folder: Path) -> None:
    """Make ``folder`` hold a link to the run of each of ``steps``, and no others.

    A run that does not exist yet is linked under the name that it will have: TensorBoard finds it
    when it is there.
    """
    runs = (store.tensorboard_run(step.label, step.key) for step in steps)
    wanted = {run.name: run for run in runs}
    folder.mkdir(parents=True, exist_ok=True)
    for link in folder.iterdir():
        if link.is_symlink() and wanted.get(link.name) != link.readlink():
            link.unlink()
    for name, run in wanted.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(run)
