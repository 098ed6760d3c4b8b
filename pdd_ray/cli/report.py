"""The command ``report``, which writes one page about a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import pdd_ray
from pdd_ray.api.stores import DEFAULT_STORE
from pdd_ray.cli.messages import say, show
from pdd_ray.cli.options import StoreOption, SweepArgument


def report(
    sweep: SweepArgument,
    store: StoreOption = DEFAULT_STORE,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write instead of report.html in the sweep's folder; the folder of the "
            "pages for a collection.",
        ),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in a browser.")] = False,
) -> None:
    """Write one HTML page about a sweep.

    It holds plan, tables, plots, pictures and every experiment with its logs, and needs no
    network. Shows what there is, also while the sweep runs; its path goes to stdout.
    """
    paths = pdd_ray.write_report(sweep, store=store, output=output)
    for path in paths:
        show(str(path))
    if open_it:
        _open(paths[0])


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.absolute().as_uri()):
        say(f"there is no browser that could be opened; open {path} yourself")
