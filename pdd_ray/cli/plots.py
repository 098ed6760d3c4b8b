"""The command ``plot``, which draws the plots of a sweep."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pdd_ray.api.stores import DEFAULT_STORE
from pdd_ray.cli.messages import say, show
from pdd_ray.cli.options import StoreOption, SweepArgument


class PlotFormat(StrEnum):
    """How a plot is written."""

    PNG = "png"
    SVG = "svg"


class PlotKind(StrEnum):
    """What a plot shows; ``pdd_analysis.plots.KINDS`` describes them."""

    ACCURACY = "accuracy"
    STAGES = "stages"
    MODES = "modes"
    COST = "cost"
    CURVES = "curves"
    CONTINUAL = "continual"


def plot(
    sweep: SweepArgument,
    store: StoreOption = DEFAULT_STORE,
    kind: Annotated[
        list[PlotKind] | None,
        typer.Option(
            help="Accuracy against the number of stages (accuracy), numbers of stages at equal "
            "total images per class (stages), progressive, union and sequential training (modes), "
            "accuracy against time and bytes (cost), a student over the stages (curves), phases of "
            "classes (continual); repeat it for more. All that there is data for if not given."
        ),
    ] = None,
    form: Annotated[
        PlotFormat, typer.Option("--format", "-f", help="How plots are written.")
    ] = PlotFormat.PNG,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to instead of the sweep's."),
    ] = None,
) -> None:
    """Draw the plots of a sweep, or of each sweep of a collection.

    Their paths go to stdout.
    """
    from pdd_ray.api.reading import plots_by_sweep

    kinds = [entry.value for entry in kind or ()]
    drawn = plots_by_sweep(sweep, store=store, kinds=kinds, form=form.value, output=output)
    for name, paths in drawn:
        if not paths:
            say(f"nothing of {name} can be plotted yet")
        for path in paths:
            show(str(path))
