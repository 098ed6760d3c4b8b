"""Ready-made tables: the questions that the paper's Tables 3 and 5 ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.layouts import COMPARISONS, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdd_analysis.cells import Table
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record


def modes(
    records: Iterable[Record],
    *,
    choose: Sequence[str] | None = None,
    planned: Iterable[Record] | None = None,
    order: Mapping[str, Sequence[Json]] | None = None,
) -> Table:
    """Return progressive, union and sequential evaluation by number of stages (Table 3).

    The paired differences are progressive - union and progressive - sequential. For the other
    arguments see ``pdd_analysis.tables.make_table``.
    """
    return lay_out(COMPARISONS["modes"], records, choose=choose, planned=planned, order=order)


def growth(
    records: Iterable[Record],
    *,
    choose: Sequence[str] | None = None,
    planned: Iterable[Record] | None = None,
    order: Mapping[str, Sequence[Json]] | None = None,
) -> Table:
    """Return accuracy after each stage at fixed images per class and stage (Figure 1).

    The paired differences are to the first stage. For the other arguments see
    ``pdd_analysis.tables.make_table``.
    """
    return lay_out(COMPARISONS["growth"], records, choose=choose, planned=planned, order=order)


def stages_versus_images_per_class(
    records: Iterable[Record],
    *,
    choose: Sequence[str] | None = None,
    planned: Iterable[Record] | None = None,
    order: Mapping[str, Sequence[Json]] | None = None,
) -> Table:
    """Return how accuracy depends on the number of stages at equal total images (Table 5).

    Only complete sets count, i.e. evaluations after the last stage. The paired differences are
    to one stage with as many images per class in total. For the other arguments see
    ``pdd_analysis.tables.make_table``.
    """
    return lay_out(COMPARISONS["stages"], records, choose=choose, planned=planned, order=order)
