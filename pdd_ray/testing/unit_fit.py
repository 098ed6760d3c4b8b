"""Counts of units as sums over what networks are made of, fitted to counted cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pdd_ray.core.work import QUANTITIES, Work
from pdd_ray.models.size import network_size
from pdd_ray.planning.units import MEMORY_OF, regressors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdd_ray.models.size import NetworkSize
    from pdd_ray.testing.counted_units import Case

Counts = dict[str, dict[str, dict[str, float]]]

TERMS: Final[Mapping[str, Sequence[str]]] = {
    "operators": ("one", "convolutions", "linears", "norms", "batch_norms", "poolings"),
    "flops": ("first", "rest"),
    "products": ("maps", "inputs", "features", "parameters"),
    "normalisation": ("normalised", "batch_normalised"),
    "pooling": ("pooled",),
    "other": ("maps", "normalised", "batch_normalised", "pooled", "image", "parameters", "one"),
    "memory": ("maps", "normalised", "batch_normalised", "pooled", "image", "parameters"),
}
"""What each quantity of a unit may be proportional to."""
OF_IMAGES: Final = ("one", "image")
"""The same for units that change images and run no network."""
IMAGE_UNITS: Final = ("training", "class", "matching")
"""How their names end."""
CLASS_UNITS: Final = (
    *("dc_gradient", "dc_distance", "idc_gradient", "idc_distance"),
    *("dm_embedding", "dm_gradient", "cafe_features", "cafe_gradient"),
)
"""Units that are counted without batch norm, which puts all classes into one batch."""
SMALLEST: Final = {"operators": 0.02, "flops": 1e-3}
"""Coefficients below are noise and left out; others are bytes."""


ESTIMATED: Final[Counts] = {
    "preparation": {"operators": {"one": 100}, "other": {"image": 80}},
    "clustering": {"flops": {"features": 50}},
    "selection": {"other": {"features": 24}},
}
"""What is done by other libraries than torch: images are decoded; k-means takes some 20 rounds of
scikit-learn; a selection compares two features in float64."""


def fitted_counts(cases: Sequence[Case], known: Counts | None = None) -> Counts:
    """Return the counts of the units of ``cases`` by quantity and term.

    Least squares of relative errors with coefficients that are not negative; units in ``known``
    are taken from there.
    """
    known = dict(known or {})
    sizes = [size_of(case) for case in cases]
    found: Counts = {}
    units = sorted({each.unit for case in cases for each in case.passes} - known.keys())
    for quantity in QUANTITIES:
        columns = [(unit, term) for unit in units for term in terms_of(unit, quantity)]
        rows, targets = [], []
        for case, size in zip(cases, sizes, strict=True):
            target = getattr(case.work, quantity) - _known(case, size, known, quantity)
            row = {column: 0.0 for column in columns}
            for each in case.passes:
                values = regressors(size, each.images)
                for term in terms_of(each.unit, quantity):
                    if (each.unit, term) in row:
                        row[each.unit, term] += each.count * values[term]
            rows.append([row[column] for column in columns])
            targets.append(target)
        for (unit, term), value in zip(columns, _solved(rows, targets), strict=True):
            if value > SMALLEST.get(quantity, 1e-3):
                found.setdefault(unit, {}).setdefault(quantity, {})[term] = float(f"{value:.4g}")
    for name, quantities in found.items():
        if name in CLASS_UNITS:
            _as_other_norms(quantities)
    return found


def _as_other_norms(quantities: dict[str, dict[str, float]]) -> None:
    """Let batch norm cost what other normalisations do, in units that were counted without it."""
    for terms in quantities.values():
        for term in ("norms", "normalised"):
            if term in terms:
                terms[f"batch_{term}"] = terms[term]


def fitted_memory(cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Return the bytes that units hold by term, of those that :data:`MEMORY_OF` names."""
    found: dict[str, dict[str, float]] = {}
    for unit in sorted(set(MEMORY_OF.values())):
        chosen = [case for case in cases if case.peak and case.passes[0].unit == unit]
        terms = TERMS["memory"]
        rows = []
        for case in chosen:
            values = regressors(size_of(case), case.passes[0].images)
            rows.append([values[term] for term in terms])
        solved = _solved(rows, [case.peak for case in chosen])
        found[unit] = {
            term: float(f"{value:.4g}")
            for term, value in zip(terms, solved, strict=True)
            if value > 1e-3
        }
    return found


def terms_of(unit: str, quantity: str) -> Sequence[str]:
    """Return what ``quantity`` of ``unit`` may be proportional to."""
    kind, _, use = unit.partition("_")
    if unit == "cutmix" or (kind in ("dsa", "idc", "dc") and use in IMAGE_UNITS):
        return [term for term in TERMS[quantity] if term in OF_IMAGES]
    return TERMS[quantity]


def size_of(case: Case) -> NetworkSize:
    """Return the size of the network of ``case``."""
    network = case.network
    return network_size(network.model, network.shape, network.classes)


def predicted(case: Case, counts: Counts) -> Work:
    """Return what ``counts`` say of ``case``."""
    size = size_of(case)
    return Work(*(_known(case, size, counts, quantity) for quantity in QUANTITIES))


def _known(case: Case, size: NetworkSize, counts: Counts, quantity: str) -> float:
    total = 0.0
    for each in case.passes:
        coefficients = counts.get(each.unit, {}).get(quantity, {})
        values = regressors(size, each.images)
        total += each.count * sum(c * values[term] for term, c in coefficients.items())
    return total


def _solved(rows: Iterable[Sequence[float]], targets: Sequence[float]) -> list[float]:
    from scipy.optimize import nnls

    matrix, wanted = np.array(list(rows), dtype=float), np.array(targets, dtype=float)
    if not matrix.size:
        return []
    scale = np.maximum(np.abs(wanted), 1e-3 * np.abs(wanted).max() + 1e-9)
    columns = np.maximum(np.abs(matrix / scale[:, None]).max(axis=0), 1e-300)
    solution, _ = nnls(matrix / scale[:, None] / columns, np.maximum(wanted, 0.0) / scale)
    return [float(value) for value in solution / columns]
