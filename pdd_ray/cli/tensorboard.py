"""The command that starts TensorBoard on a store, or on the runs of one sweep."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pdd_ray.api.stores import DEFAULT_STORE, existing_store
from pdd_ray.cli.messages import say, show
from pdd_ray.cli.options import StoreOption
from pdd_ray.core.operations import IMAGE_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pdd_ray.core.store import Store
    from pdd_ray.results.saved_sweeps import SavedStep

STEPS_OF_PICTURES = 1000
"""TensorBoard shows 10 steps of a picture if it isn't told otherwise, and with 0 (all) none."""


def start(
    sweep: Annotated[
        str | None,
        typer.Argument(metavar="SWEEP", help="Only the runs of this sweep; all if not given."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    only_print: Annotated[
        bool, typer.Option("--print", help="Write the command to stdout and do not run it.")
    ] = False,
) -> None:
    """Start TensorBoard on the store.

    Every stage is a run. Those that a sweep has still to make appear when they begin.
    """
    opened = existing_store(store)
    folder = opened.tensorboard() if sweep is None else _runs_of(sweep, opened)
    options = ["--logdir", str(folder), "--samples_per_plugin", f"images={STEPS_OF_PICTURES}"]
    command = shlex.join(["tensorboard", *options])
    if only_print:
        show(command)
        return
    say(command)
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *options])


def _runs_of(source: str, store: Store) -> Path:
    """Return a folder with the runs of a sweep, or of a collection of them, as links."""
    from pdd_ray.results.saved_sweeps import find_saved_collection, read_steps

    collection = find_saved_collection(source, store)
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
