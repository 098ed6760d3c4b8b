"""The commands ``run``, ``demo`` and ``plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import pdd_ray
from pdd_ray.api.stores import DEFAULT_STORE, open_store
from pdd_ray.cli.messages import say, show, show_json
from pdd_ray.cli.options import (
    JsonOption,
    OverridesArgument,
    StoreOption,
    SweepArgument,
    store_hint,
)

if TYPE_CHECKING:
    from pdd_ray import RunResult

MOST_PICTURES = 4
"""Pictures that are named at the end of a run."""

AddressOption = Annotated[
    str | None,
    typer.Option(help="Ray cluster (auto or HOST:PORT); Ray is started here if not given."),
]
FailFastOption = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failed step.")]
SerialOption = Annotated[
    bool, typer.Option("--serial", help="Do the steps one by one in this process, without Ray.")
]
CpusOption = Annotated[
    int | None,
    typer.Option(min=1, help="CPUs of the Ray that is started here."),
]
ElasticOption = Annotated[
    bool,
    typer.Option("--elastic", help="The cluster grows on demand: ask for more than it has now."),
]
GpusOption = Annotated[
    int | None,
    typer.Option(min=0, help="GPUs of the Ray that is started here."),
]


def demo(
    overrides: OverridesArgument = None,
    store: StoreOption = DEFAULT_STORE,
    serial: SerialOption = False,
    cpus: CpusOption = None,
) -> None:
    """Run PDD on the digits of scikit-learn.

    Takes about two minutes on two cores, without network; the same as `run demo`.
    """
    run_sweep("demo", overrides, store, serial=serial, cpus=cpus)


def run_sweep(
    sweep: SweepArgument,
    overrides: OverridesArgument = None,
    store: StoreOption = DEFAULT_STORE,
    address: AddressOption = None,
    elastic: ElasticOption = False,
    fail_fast: FailFastOption = False,
    serial: SerialOption = False,
    cpus: CpusOption = None,
    gpus: GpusOption = None,
) -> None:
    """Run what is missing of a sweep.

    Run it again to continue after an interruption, to retry what failed, or to extend it:
    what is done already is never done again.
    """
    planned = pdd_ray.plan(sweep, overrides or (), store=open_store(store), cpus=cpus)
    say(str(planned))
    result = planned.run(
        serial=serial, address=address, elastic=elastic, fail_fast=fail_fast, gpus=gpus
    )
    for name, text in result.tables.items():
        heading = [] if result.single else [f"## {name}", ""]
        show("\n".join([*heading, text]))
    result.check(f"pdd-ray logs{store_hint(store)}")
    say("\n".join(_next_commands(result, store)))


def plan(
    sweep: SweepArgument,
    overrides: OverridesArgument = None,
    store: StoreOption = DEFAULT_STORE,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs to assume.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs to assume.")] = None,
    device: Annotated[
        str | None,
        typer.Option(help="GPU to assume, e.g. H100, A100, 3090, 4090, T4; or cpu."),
    ] = None,
    tf32: Annotated[bool, typer.Option("--tf32", help="Assume products in TF32.")] = False,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Price of one GPU, or CPU, for an hour.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would do and take."""
    planned = pdd_ray.plan(
        sweep,
        overrides or (),
        store=store,
        cpus=cpus,
        gpus=gpus,
        device=device,
        tf32=tf32,
        price_per_hour=price_per_hour,
    )
    if as_json:
        show_json(planned.to_json())
    else:
        show(str(planned))


def _next_commands(result: RunResult, store: Path) -> list[str]:
    name = result.name
    hint = store_hint(store)
    pictures = result.pictures
    more = len(pictures) - MOST_PICTURES
    return [
        *(f"results: {folder}" for folder in result.folders),
        *(f"picture: {picture}" for picture in pictures[:MOST_PICTURES]),
        *([f"and {more} more pictures beside them"] if more > 0 else []),
        "run it again: 0 steps to do",
        f"next: pdd-ray table {name} --format latex{hint}",
        f"      pdd-ray report {name}{hint}",
        f"      pdd-ray images {name}{hint}",
        f"      pdd-ray tb {name}{hint}",
    ]
