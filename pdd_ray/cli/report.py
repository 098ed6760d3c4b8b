"""The command that writes one page about a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdd_ray.api.stores import DEFAULT_STORE, existing_store
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
    from pdd_ray.results.report.page import write_report, write_reports
    from pdd_ray.results.saved_sweeps import find_saved_collection

    opened = existing_store(store)
    found = find_saved_collection(sweep, opened)
    if found.single:
        paths = [write_report(found.sweeps[0], opened, output)]
    else:
        paths = write_reports(found, opened, output)
    for path in paths:
        show(str(path))
    if open_it:
        _open(paths[0])


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.absolute().as_uri()):
        say(f"there is no browser that could be opened; open {path} yourself")
