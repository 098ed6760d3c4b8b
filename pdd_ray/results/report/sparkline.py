"""Small line drawings of curves, as inline SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 160
HEIGHT = 36
MARGIN = 2
MOST_POINTS = 160


@dataclass(frozen=True)
class Sparkline:
    """A curve as the points of an SVG polyline in a box of ``WIDTH`` x ``HEIGHT``.

    Attributes:
        name: What it shows.
        points: ``x,y x,y ...``
        first: First finite value.
        last: Last finite value.
        low: Least value.
        high: Largest value.
        count: Number of values, those that are not finite left out.
    """

    name: str
    points: str
    first: float
    last: float
    low: float
    high: float
    count: int


def sparkline(name: str, values: Sequence[float | None]) -> Sparkline | None:
    """Return the curve ``values``, least to largest over the whole height; None if it is empty.

    Long curves are thinned out: of each run of neighbours the least and the largest are kept, so
    that no spike is lost.
    """
    finite = [
        (index, value)
        for index, value in enumerate(values)
        if value is not None and math.isfinite(value)
    ]
    if not finite:
        return None
    numbers = [value for _, value in finite]
    low, high = min(numbers), max(numbers)
    across = (WIDTH - 2 * MARGIN) / max(1, len(values) - 1)
    down = (HEIGHT - 2 * MARGIN) / ((high - low) or 1.0)
    points = " ".join(
        f"{MARGIN + index * across:.1f},{MARGIN + (high - value) * down:.1f}"
        for index, value in _thinned(finite)
    )
    return Sparkline(name, points, numbers[0], numbers[-1], low, high, len(numbers))


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    run = -(-2 * len(points) // MOST_POINTS)
    if run <= 2:
        return list(points)
    kept: set[tuple[int, float]] = {points[0], points[-1]}
    for start in range(0, len(points), run):
        part = points[start : start + run]
        kept |= {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
    return sorted(kept)
