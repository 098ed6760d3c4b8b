"""Ready-made tables: the questions that the paper's Tables 3 and 5 ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.cells import Contrast
from analysis.tables import make_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analysis.cells import Table
    from pdd_ray.records import Record


def modes(records: Iterable[Record]) -> Table:
    """Return progressive, union and sequential evaluation by number of stages (Table 3).

    The paired differences are progressive - union and progressive - sequential.
    """
    return make_table(
        records,
        rows=("variant", "stages", "images_per_class"),
        columns=("mode",),
        contrasts=[
            Contrast("mode", reference=other, first="progressive")
            for other in ("union", "sequential")
        ],
    )


def stages_versus_images_per_class(records: Iterable[Record]) -> Table:
    """Return how accuracy depends on the number of stages at equal total images (Table 5).

    Only complete sets count, i.e. evaluations after the last stage. The paired differences are
    to one stage with as many images per class in total.
    """
    complete = [record for record in records if record.stages == record.total_stages]
    return make_table(
        complete,
        rows=("method", "total_images_per_class", "total_stages", "images_per_class"),
        columns=("mode",),
        contrasts=[Contrast("total_stages", reference=1)],
    )
