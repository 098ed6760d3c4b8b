"""Commands that tell how far sweeps are, from the store alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from pdd_ray.api.stores import DEFAULT_STORE, existing_store
from pdd_ray.cli.messages import say, show, show_json
from pdd_ray.cli.options import JsonOption, StoreOption

if TYPE_CHECKING:
    from pathlib import Path

    from pdd_ray.core.identities import Json
    from pdd_ray.core.store import Store
    from pdd_ray.results.saved_sweeps import SweepStatus

SCHEMA = "pdd-ray/status/1"
"""Names the layout of the JSON form; changes when a reader has to change."""
POLL_SECONDS = 0.5

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
    from pdd_ray.results.saved_sweeps import find_saved_collection, read_status

    opened = existing_store(store)
    names = opened.sweep_names()
    if sweep:
        names = [each.name for each in find_saved_collection(sweep, opened).sweeps]
    statuses = [read_status(name, opened) for name in names]
    if as_json:
        show_json({"schema": SCHEMA, "sweeps": [_as_json(status) for status in statuses]})
    elif not statuses:
        say(f"no sweep was run on the store {opened.root} yet")
    else:
        show("\n\n".join("\n".join(_lines(status)) for status in statuses))


def logs(
    step: StepArgument, store: StoreOption = DEFAULT_STORE, follow: FollowOption = False
) -> None:
    """Show the log of a step."""
    from pdd_ray.results.saved_sweeps import find_step

    opened = existing_store(store)
    found = find_step(step, opened)
    path = opened.log_path(found.key)
    if not path.exists() and not follow:
        say(f"{found.label} has not been started: there is no log of {found.key}")
        return
    position = _show_from(path, 0)
    while follow and not _has_ended(found.key, opened):
        time.sleep(POLL_SECONDS)
        position = _show_from(path, position)
    _show_from(path, position)


def _lines(status: SweepStatus) -> list[str]:
    from pdd_ray.api.text import columns
    from pdd_ray.results.saved_sweeps import StepState

    header = [status.sweep, *StepState]
    rows = [
        [kind, *(str(status.count(state, kind) or "-") for state in StepState)]
        for kind in status.kinds
    ]
    total = ["all", *(str(status.count(state) or "-") for state in StepState)]
    labels = {step.key: step.label for step in status.steps}
    failures = [f"failed: {labels[key]}: {text}" for key, text in status.failures.items()]
    return [*columns([header, *rows, total]), *failures]


def _as_json(status: SweepStatus) -> dict[str, Json]:
    from pdd_ray.results.saved_sweeps import StepState

    labels = {step.key: step.label for step in status.steps}
    return {
        "sweep": status.sweep,
        "steps": {state.value: status.count(state) for state in StepState},
        "kinds": {
            kind: {state.value: status.count(state, kind) for state in StepState}
            for kind in status.kinds
        },
        "failures": [
            {"key": key, "label": labels[key], "message": text}
            for key, text in status.failures.items()
        ],
    }


def _show_from(path: Path, position: int) -> int:
    """Write what the file has from byte ``position`` on, and return where it ends."""
    if not path.exists():
        return position
    with path.open("rb") as file:
        file.seek(position)
        content = file.read()
    if content:
        typer.echo(content.decode("utf-8", errors="replace"), nl=False)
    return position + len(content)


def _has_ended(key: str, store: Store) -> bool:
    from pdd_ray.results.saved_sweeps import is_running

    failed = store.failure(key) is not None and not is_running(key, store)
    return failed or store.exists(key)
