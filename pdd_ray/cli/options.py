"""Arguments and options that several commands have, and the store they lead to."""

from pathlib import Path
from typing import Annotated

import typer

from pdd_ray.errors import StoreError
from pdd_ray.store import Store

DEFAULT_STORE = Path("pdd-ray-store")

StoreOption = Annotated[
    Path,
    typer.Option("--store", envvar="PDD_RAY_STORE", help="Folder of artifacts and results."),
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


def existing_store(path: Path) -> Store:
    """Return the store at ``path`` for reading.

    Raises:
        StoreError: if there is none.
    """
    store = Store(path)
    if not (store.root / "store.json").is_file():
        msg = (
            f"there is no store at {store.root}; run a sweep first, or name the store with "
            "--store or PDD_RAY_STORE"
        )
        raise StoreError(msg)
    return store


def store_hint(path: Path) -> str:
    """Return what has to be added to a command so that it uses the store at ``path``."""
    return "" if path == DEFAULT_STORE else f" --store {path}"
