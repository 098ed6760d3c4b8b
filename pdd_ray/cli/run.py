"""Commands that plan and run sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdd_ray.api.stores import DEFAULT_STORE
from pdd_ray.cli.messages import say, show, show_json
from pdd_ray.cli.options import (
    JsonOption,
    OverridesArgument,
    StoreOption,
    SweepArgument,
    store_hint,
)
from pdd_ray.core.store import Store

if TYPE_CHECKING:
    from pdd_ray.api.preparing import PreparedRun
    from pdd_ray.runtime.interface import RunOptions

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
    from pdd_ray.runtime.interface import RunOptions

    prepared = _prepare(sweep, overrides, Store(store).open())
    options = RunOptions(
        address=address,
        elastic=elastic,
        fail_fast=fail_fast,
        max_concurrent_stages=prepared.max_concurrent_stages,
        cpus=cpus,
        gpus=gpus,
    )
    _run(prepared, options, store, serial=serial)


def plan(
    sweep: SweepArgument,
    overrides: OverridesArgument = None,
    store: StoreOption = DEFAULT_STORE,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs to assume.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would do and take."""
    from pdd_ray.api.plan_text import plan_as_json, plan_lines

    prepared = _prepare(sweep, overrides, Store(store))
    if as_json:
        show_json(plan_as_json(prepared, cpus))
    else:
        show("\n".join(plan_lines(prepared, cpus)))


def _prepare(sweep: str, overrides: list[str] | None, store: Store) -> PreparedRun:
    from pdd_ray.api.preparing import prepare_checked
    from pdd_ray.configuration.load import load_collection

    return prepare_checked(load_collection(sweep, overrides or (), store), store)


def _run(prepared: PreparedRun, options: RunOptions, store: Path, *, serial: bool) -> None:
    from pdd_ray.api.plan_text import plan_lines
    from pdd_ray.api.preparing import check_complete, run
    from pdd_ray.results.outputs import write_outputs
    from pdd_ray.runtime.display import create_display

    say("\n".join(plan_lines(prepared, options.cpus)))
    report = run(prepared, options, create_display(), serial=serial)
    for plan in prepared.plans:
        text = write_outputs(plan.sweep, prepared.store, pictures=bool(report.done))
        if text is not None:
            heading = [] if prepared.collection.single else [f"## {plan.sweep.name}", ""]
            show("\n".join([*heading, text]))
    check_complete(report, prepared, f"pdd-ray logs{store_hint(store)}")
    say("\n".join(_next_commands(prepared, store)))


def _next_commands(prepared: PreparedRun, store: Path) -> list[str]:
    name = prepared.collection.name
    hint = store_hint(store)
    folders = [prepared.store.sweep_folder(plan.sweep.name) for plan in prepared.plans]
    pictures = [
        picture
        for folder in folders
        for picture in (*folder.glob("*.png"), *sorted((folder / "images").glob("*.png")))
    ]
    more = len(pictures) - MOST_PICTURES
    return [
        *(f"results: {folder}" for folder in folders),
        *(f"picture: {picture}" for picture in pictures[:MOST_PICTURES]),
        *([f"and {more} more pictures beside them"] if more > 0 else []),
        "run it again: 0 steps to do",
        f"next: pdd-ray table {name} --format latex{hint}",
        f"      pdd-ray report {name}{hint}",
        f"      pdd-ray images {name}{hint}",
        f"      pdd-ray tb {name}{hint}",
    ]
