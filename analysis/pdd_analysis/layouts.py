"""Layouts of the paper's tables and of ready-made comparisons: rows, columns, what is compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdd_analysis.cells import Contrast
from pdd_analysis.published import PAPER
from pdd_analysis.tables import make_table
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdd_analysis.cells import Table
    from pdd_analysis.published import Published
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record


@dataclass(frozen=True)
class Layout:
    """How a table is laid out.

    Attributes:
        rows: Fields that make the rows.
        columns: Fields that make the columns.
        title: What it shows; begins its caption.
        contrasts: Its paired differences.
        complete: Whether only complete sets count, i.e. evaluations after the last stage.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    title: str = ""
    contrasts: tuple[Contrast, ...] = ()
    complete: bool = False


_SINGLE = Contrast("total_stages", reference=1)
_MODES = tuple(
    Contrast("mode", reference=other, first="progressive") for other in ("union", "sequential")
)

LAYOUTS: Mapping[str, Layout] = {
    "Table 1": Layout(
        ("method", "total_stages"),
        ("dataset", "total_images_per_class"),
        "selections, base methods and PDD",
        (_SINGLE,),
    ),
    "Table 2": Layout(
        ("model", "method", "total_stages"),
        ("dataset", "total_images_per_class"),
        "generalisation to other architectures",
        (_SINGLE,),
    ),
    "Table 3": Layout(
        ("method", "stages", "images_per_class"),
        ("mode",),
        "modes of training on the stages",
        _MODES,
    ),
    "Table 4": Layout(
        ("stages", "images_per_class"),
        ("transition", "conditioning"),
        "transition and conditioning",
        (Contrast("transition", reference=True), Contrast("conditioning", reference=True)),
    ),
    "Table 5": Layout(
        ("total_images_per_class", "total_stages", "images_per_class"),
        ("mode",),
        "number of stages against images per class and stage",
        (_SINGLE,),
        complete=True,
    ),
    "Table 6": Layout(("variant", "stages"), ("mode",), "real images from easy to hard"),
    "Table 7": Layout(
        ("method", "total_stages"),
        ("phase",),
        "class-incremental continual learning, accuracy on all classes seen",
        (_SINGLE,),
    ),
    "Table A8": Layout(
        ("method", "total_stages", "total_images_per_class"),
        ("dataset",),
        "PDD with DC, DSA and DM",
        (_SINGLE,),
    ),
    "Table A9": Layout(
        ("method", "total_stages"),
        ("dataset", "total_images_per_class"),
        "PDD with DREAM",
        (_SINGLE,),
    ),
    "A3.2": Layout(("variant", "stages"), ("mode",), "updating the images of earlier stages"),
    "Figure 3": Layout(
        ("dataset", "images_per_class", "stages"),
        ("mode",),
        "accuracy against the number of stages",
        (Contrast("stages", reference=1),),
    ),
}
"""Layouts by the name that the key ``paper`` of a sweep gives."""

COMPARISONS: Mapping[str, Layout] = {
    "modes": Layout(
        ("variant", "stages", "images_per_class"), ("mode",), "Modes of training", _MODES
    ),
    "growth": Layout(
        ("variant", "images_per_class", "stages"),
        ("mode",),
        "Growth with the stages",
        (Contrast("stages", reference=1),),
    ),
    "stages": Layout(
        ("method", "total_images_per_class", "total_stages", "images_per_class"),
        ("mode",),
        "Number of stages at equal total images per class",
        (_SINGLE,),
        complete=True,
    ),
}
"""Ready-made tables by name, besides the one that a sweep describes."""


def layout_of(paper: str) -> Layout:
    """Return the layout of the table ``paper`` of the paper, its title naming the table.

    Raises:
        ConfigError: if there is none of this name.
    """
    if paper not in LAYOUTS:
        msg = f"paper: there is no layout for {paper!r}; there are {', '.join(LAYOUTS)}"
        raise ConfigError(msg)
    layout = LAYOUTS[paper]
    place = f"Section {paper}" if paper.startswith("A") else paper
    return replace(layout, title=f"{place} of {PAPER}: {layout.title}")


def lay_out(
    layout: Layout,
    records: Iterable[Record],
    *,
    baseline: str | None = None,
    choose: Sequence[str] | None = None,
    planned: Iterable[Record] | None = None,
    order: Mapping[str, Sequence[Json]] | None = None,
    published: Published | None = None,
) -> Table:
    """Return the table of ``records`` in this layout; see ``pdd_analysis.tables.make_table``."""
    if layout.complete:
        records = _complete(records)
        planned = None if planned is None else _complete(planned)
    return make_table(
        records,
        layout.rows,
        layout.columns,
        title=layout.title,
        contrasts=layout.contrasts,
        baseline=baseline,
        choose=choose,
        planned=planned,
        order=order,
        published=published,
    )


def _complete(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.stages == record.total_stages]
