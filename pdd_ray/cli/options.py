"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from pdd_ray.api.stores import DEFAULT_STORE, STORE_VARIABLE

StoreOption = Annotated[
    Path,
    typer.Option("--store", envvar=STORE_VARIABLE, help="Folder of artifacts and results."),
]
SweepArgument = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP",
        help="A YAML file, a preset (demo, cpu/cifar10_stages), or a sweep of the store.",
    ),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Changes of the sweep, such as method.iterations=20."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]


def store_hint(path: Path) -> str:
    """Return what has to be added to a command so that it uses the store at ``path``."""
    return "" if path == DEFAULT_STORE else f" --store {path}"
