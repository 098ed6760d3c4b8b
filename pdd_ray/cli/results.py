"""The commands ``table`` and ``images``: what sweeps found, from the store alone."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import pdd_ray
from pdd_ray.api.stores import DEFAULT_STORE
from pdd_ray.cli.messages import say, show
from pdd_ray.cli.options import StoreOption, SweepArgument
from pdd_ray.core.errors import ConfigError


class TableFormat(StrEnum):
    """How a table is written."""

    MD = "md"
    CSV = "csv"
    LATEX = "latex"
    HTML = "html"
    JSON = "json"


class Comparison(StrEnum):
    """A ready-made table."""

    MODES = "modes"
    GROWTH = "growth"
    STAGES = "stages"


FormOption = Annotated[
    TableFormat, typer.Option("--format", "-f", help="How the table is written.")
]
CompareOption = Annotated[
    Comparison | None,
    typer.Option(
        help="A ready-made table instead of the sweep's: progressive, union and sequential "
        "(modes), accuracy after each stage (growth), or numbers of stages at equal total "
        "images per class (stages)."
    ),
]
RowsOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD,...",
        help="Record fields or grid axes that make the rows, instead of the sweep's.",
    ),
]
ColsOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD,...",
        help="Record fields or grid axes that make the columns; '' for a single one.",
    ),
]
BaselineOption = Annotated[
    str | None,
    typer.Option(metavar="VARIANT", help="Variant to which paired differences are given."),
]
ChooseOption = Annotated[
    str | None,
    typer.Option(
        metavar="AXIS,...",
        help="Grid axes of which every row shows the value with the best validation accuracy.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write instead of stdout."),
]


def table(
    sweep: SweepArgument,
    store: StoreOption = DEFAULT_STORE,
    form: FormOption = TableFormat.MD,
    compare: CompareOption = None,
    rows: RowsOption = None,
    cols: ColsOption = None,
    baseline: BaselineOption = None,
    choose: ChooseOption = None,
    output: OutputOption = None,
) -> None:
    """Show the table of a sweep, or those of a collection.

    Shows what is finished, also while the sweep runs.
    """
    if compare is not None and any(each is not None for each in (rows, cols, baseline, choose)):
        msg = "--compare is a table by itself: not with --rows, --cols, --baseline or --choose"
        raise ConfigError(msg)
    text = pdd_ray.table(
        sweep,
        store=store,
        form=form.value,
        compare=compare,
        rows=_names(rows),
        columns=_names(cols),
        baseline=baseline,
        choose=_names(choose),
    )
    if output is None:
        show(text)
        return
    from pdd_ray.core.files import write_text

    write_text(output, text)
    say(f"written: {output}")


def _names(text: str | None) -> tuple[str, ...] | None:
    """Return the names in a list with commas; None if there is no list."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())


def images(
    sweep: SweepArgument,
    store: StoreOption = DEFAULT_STORE,
    all_seeds: Annotated[
        bool,
        typer.Option("--all-seeds", help="A picture of every seed, not of the first one only."),
    ] = False,
    stage: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Stage to show; repeat it for more. All if not given."),
    ] = None,
    label: Annotated[
        list[int] | None,
        typer.Option(
            "--class", min=0, help="Class to show, by its label from 0; repeat it for more."
        ),
    ] = None,
) -> None:
    """Write pictures of distilled images.

    One picture per setting, its stages side by side; their paths go to stdout.
    """
    from pdd_ray.api.reading import pictures_by_sweep

    written = pictures_by_sweep(
        sweep, store=store, all_seeds=all_seeds, stages=stage or (), classes=label or ()
    )
    for name, paths in written:
        if not paths:
            say(f"no stage of {name} is finished yet")
        for path in paths:
            show(str(path))
