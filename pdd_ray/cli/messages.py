"""Where text goes: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pdd_ray.core.identities import Json


def say(text: str = "") -> None:
    """Write a message for people to stderr."""
    typer.echo(text, err=True)


def complain(text: str) -> None:
    """Write the lines of an error to stderr, the first one marked as such."""
    first, *others = text.splitlines() or [""]
    mark = "error:" if "NO_COLOR" in os.environ else typer.style("error:", fg="red", bold=True)
    say("\n".join([f"{mark} {first}", *others]))


def show(text: str) -> None:
    """Write data to stdout; ``text`` may end in a newline or not."""
    typer.echo(text.removesuffix("\n"))


def show_json(value: Json) -> None:
    """Write ``value`` to stdout as indented JSON."""
    show(json.dumps(value, indent=1))
