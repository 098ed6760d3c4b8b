"""The command that starts TensorBoard on a store."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer

from pdd_ray.cli.messages import say, show
from pdd_ray.cli.options import DEFAULT_STORE, StoreOption, existing_store

IMAGES_PER_TAG = 100
"""TensorBoard shows 10 steps of a picture if it isn't told otherwise."""


def start(
    store: StoreOption = DEFAULT_STORE,
    only_print: Annotated[
        bool, typer.Option("--print", help="Write the command to stdout and do not run it.")
    ] = False,
) -> None:
    """Start TensorBoard on the store."""
    folder = existing_store(store).tensorboard()
    options = ["--logdir", str(folder), "--samples_per_plugin", f"images={IMAGES_PER_TAG}"]
    command = shlex.join(["tensorboard", *options])
    if only_print:
        show(command)
        return
    say(command)
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *options])
