"""What a pass costs, from the counts of its unit and the size of the network."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pdd_ray.core.work import QUANTITIES, Work
from pdd_ray.planning.unit_counts import COUNTS, MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pdd_ray.configuration.passes import Pass
    from pdd_ray.models.size import NetworkSize

CONSTANT: Final = (
    "one",
    "convolutions",
    "linears",
    "norms",
    "batch_norms",
    "poolings",
    "parameters",
)
"""What counts are proportional to whatever the number of images; ``one`` is the unit itself."""
PER_IMAGE: Final = (
    "first",
    "rest",
    "maps",
    "inputs",
    "normalised",
    "batch_normalised",
    "pooled",
    "image",
    "features",
)
"""What they are proportional to for each image: attributes of a NetworkSize, as the others."""
MEMORY_OF: Final[Mapping[str, str]] = {
    "test_batch": "test_batch",
    "dm_embedding": "test_batch",
    "cafe_features": "test_batch",
    "training_step": "training_step",
    "dc_gradient": "training_step",
    "idc_gradient": "training_step",
    "dm_gradient": "training_step",
    "cafe_gradient": "training_step",
    "matching_step": "matching_step",
    "unrolled_step": "matching_step",
    "dc_distance": "matching_step",
    "idc_distance": "matching_step",
}
"""Units that hold as much as another one: forwards, with a gradient, with its derivative."""


def work_of(passes: Iterable[Pass], network: NetworkSize) -> Work:
    """Return what ``passes`` cost together."""
    total = [0.0] * len(QUANTITIES)
    for each in passes:
        constant, per_image = _unit(each.unit, network)
        for index, (fixed, growing) in enumerate(zip(constant, per_image, strict=True)):
            total[index] += each.count * (fixed + each.images * growing)
    return Work(*total)


def memory_of(passes: Iterable[Pass], network: NetworkSize) -> float:
    """Return the bytes that the largest of ``passes`` holds, beside parameters and data."""
    held = 0.0
    for each in passes:
        name = MEMORY_OF.get(each.unit)
        if name is not None and each.count > 0:
            fixed, growing = _amount(MEMORY[name], network)
            held = max(held, fixed + each.images * growing)
    return held


def regressors(network: NetworkSize, images: float) -> dict[str, float]:
    """Return what counts of a pass over ``images`` images are sums of, by name."""
    values = {name: 1.0 if name == "one" else float(getattr(network, name)) for name in CONSTANT}
    return values | {name: images * float(getattr(network, name)) for name in PER_IMAGE}


@lru_cache(maxsize=4096)
def _unit(name: str, network: NetworkSize) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the counts of a unit that don't grow with the images, and those of each image."""
    counts = COUNTS[name]
    parts = [_amount(counts.get(quantity, {}), network) for quantity in QUANTITIES]
    return tuple(fixed for fixed, _ in parts), tuple(growing for _, growing in parts)


def _amount(coefficients: Mapping[str, float], network: NetworkSize) -> tuple[float, float]:
    values = regressors(network, 1.0)
    fixed = sum(coefficients.get(name, 0.0) * values[name] for name in CONSTANT)
    growing = sum(coefficients.get(name, 0.0) * values[name] for name in PER_IMAGE)
    return fixed, growing
