"""Paired differences between the cells of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_analysis.cells import Comparison
from pdd_analysis.fields import key_of
from pdd_analysis.statistics import paired_difference
from pdd_ray.core.identities import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdd_analysis.cells import Cell, Contrast

STAGE_FIELDS = ("stages", "total_stages", "images_per_class", "epochs")
"""How a number of images is divided into stages; does not matter when totals are compared."""

TOTAL = "total_images_per_class"


def compare(cells: Sequence[Cell], contrast: Contrast) -> tuple[list[Comparison], int]:
    """Return the comparisons of ``contrast``, and how many cells have no reference.

    The reference of a cell is the one with the same row and column values, but for the contrast's
    field. Where there is none, it is the one cell with the same total number of images per class
    and the same values outside ``STAGE_FIELDS``: five stages of two images per class can be
    compared with one stage of ten. If stages are what is contrasted, variants may differ too,
    since they are how a sweep names its stages. Cells that hold the very same evaluations are not
    compared: the first stage is the same in all modes.
    """
    reference = (canonical_json(contrast.reference),)
    wanted = None if contrast.first is None else (canonical_json(contrast.first),)
    cells = [cell for cell in cells if cell.estimate is not None and contrast.field in cell.fields]
    references = [c for c in cells if key_of(c.fields, (contrast.field,)) == reference]
    compared: list[Comparison] = []
    unmatched = 0
    for cell in cells:
        value = key_of(cell.fields, (contrast.field,))
        if value == reference or wanted not in (None, value) or _has_no_stages(cell, contrast):
            continue
        match = _counterpart(cell, references, contrast)
        if match is not None and match.keys == cell.keys:
            continue
        found = None if match is None else _compare(cell, match, contrast)
        if found is None:
            unmatched += 1
        else:
            compared.append(found)
    return compared, unmatched


def _has_no_stages(cell: Cell, contrast: Contrast) -> bool:
    """Return whether stages are compared and the cell is of all real images."""
    return contrast.field in STAGE_FIELDS and cell.settings.get("mode") == "full"


def _counterpart(cell: Cell, references: Sequence[Cell], contrast: Contrast) -> Cell | None:
    others = tuple(name for name in cell.fields if name != contrast.field)
    free = (*STAGE_FIELDS, "variant") if contrast.field in STAGE_FIELDS else STAGE_FIELDS
    fixed = tuple(name for name in others if name not in free)
    return _same(cell, references, others) or _same_total(cell, references, fixed)


def _compare(cell: Cell, match: Cell, contrast: Contrast) -> Comparison | None:
    difference = paired_difference(cell.values, match.values)
    if difference is None:
        return None
    others = tuple(name for name in cell.fields if name != contrast.field)
    return Comparison(
        field=contrast.field,
        first=cell.fields[contrast.field],
        second=contrast.reference,
        fields={name: cell.fields[name] for name in others},
        difference=difference,
        same_settings=key_of(cell.fields, others) == key_of(match.fields, others),
    )


def _same(cell: Cell, references: Iterable[Cell], names: Sequence[str]) -> Cell | None:
    wanted = key_of(cell.fields, names)
    found = [other for other in references if key_of(other.fields, names) == wanted]
    return found[0] if len(found) == 1 else None


def _same_total(cell: Cell, references: Iterable[Cell], names: Sequence[str]) -> Cell | None:
    total = cell.settings.get(TOTAL)
    same = [other for other in references if other.settings.get(TOTAL) == total is not None]
    return _same(cell, same, names)
