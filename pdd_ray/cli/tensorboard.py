"""The command ``tb``, which starts TensorBoard on a store, or on the runs of one sweep."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer

from pdd_ray.api.stores import DEFAULT_STORE
from pdd_ray.cli.messages import say, show
from pdd_ray.cli.options import StoreOption

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
    from pdd_ray.api.reading import tensorboard_folder

    folder = tensorboard_folder(sweep, store=store)
    options = ["--logdir", str(folder), "--samples_per_plugin", f"images={STEPS_OF_PICTURES}"]
    command = shlex.join(["tensorboard", *options])
    if only_print:
        show(command)
        return
    say(command)
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *options])
