"""The commands ``config show``, ``config schema`` and ``config describe``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

import pdd_ray
from pdd_ray.api.stores import DEFAULT_STORE
from pdd_ray.cli.messages import show, show_json
from pdd_ray.cli.options import JsonOption, OverridesArgument, StoreOption, SweepArgument

app = typer.Typer(help="Show configurations and their schema.", no_args_is_help=True)


class ConfigFormat(StrEnum):
    """How a configuration is written."""

    YAML = "yaml"
    JSON = "json"


@app.command("schema")
def show_schema() -> None:
    """Show the JSON schema of sweep files, for editors."""
    show_json(pdd_ray.schema())


@app.command("describe")
def describe_keys(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="A key such as experts or method.mtt; all if not given."
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Describe the keys of sweep files: defaults, allowed values and meaning."""
    from pdd_ray.api.keys import description_as_json, description_lines

    description = pdd_ray.describe(key)
    if as_json:
        show_json(description_as_json(description))
    else:
        show("\n".join(description_lines(description)))


@app.command("show")
def show_config(
    sweep: SweepArgument,
    overrides: OverridesArgument = None,
    store: StoreOption = DEFAULT_STORE,
    form: Annotated[
        ConfigFormat, typer.Option("--format", "-f", help="How it is written.")
    ] = ConfigFormat.YAML,
) -> None:
    """Show a sweep with all its defaults; the output is a sweep file itself."""
    from pdd_ray.api.sweeps import config_text

    show(config_text(pdd_ray.config(sweep, overrides or (), store=store), form.value))
