"""The commands ``status`` and ``logs``: how far sweeps are, from the store alone."""

from __future__ import annotations

from typing import Annotated

import typer

import pdd_ray
from pdd_ray.api.stores import DEFAULT_STORE, store_at
from pdd_ray.cli.messages import say, show, show_json
from pdd_ray.cli.options import JsonOption, StoreOption

StepArgument = Annotated[
    str,
    typer.Argument(metavar="STEP", help="A step's label or key, or the beginning of either."),
]
FollowOption = Annotated[
    bool, typer.Option("-f", "--follow", help="Show new lines until the step ends.")
]
OptionalSweep = Annotated[
    str | None,
    typer.Argument(metavar="SWEEP", help="A sweep of the store; all of them if not given."),
]


def show_status(
    sweep: OptionalSweep = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show how far sweeps are.

    Counts steps by kind and state; `started` ones are running or were interrupted.
    """
    from pdd_ray.api.status_text import status_as_json, status_lines

    statuses = pdd_ray.status(sweep or None, store=store)
    if as_json:
        show_json(status_as_json(statuses))
    elif not statuses:
        say(f"no sweep was run on the store {store_at(store).root} yet")
    else:
        show("\n\n".join("\n".join(status_lines(status)) for status in statuses))


def logs(
    step: StepArgument, store: StoreOption = DEFAULT_STORE, follow: FollowOption = False
) -> None:
    """Show the log of a step."""
    from pdd_ray.api.logs import find_log

    log = find_log(step, store=store)
    if not log.exists and not follow:
        say(f"{log.step.label} has not been started: there is no log of {log.step.key}")
        return
    for text in log.follow() if follow else [log.text()]:
        typer.echo(text, nl=False)
