"""Settings of the experiments of a sweep: in which they differ, and how a page shows them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pdd_ray.core.identities import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdd_ray.core.identities import Json


def setting_title(variant: str, axes: Mapping[str, Json]) -> str:
    """Return how a page calls a variant at a point of its grid: ``pdd, stages.count = 2``."""
    return ", ".join([variant, *(f"{axis} = {shown(value)}" for axis, value in axes.items())])


def differing(experiments: Sequence[Mapping[str, Json]]) -> list[str]:
    """Return the keys of flat settings that do not have the same value in all ``experiments``."""
    keys: Iterable[str] = dict.fromkeys(key for settings in experiments for key in settings)
    return [key for key in keys if len({_value(settings, key) for settings in experiments}) > 1]


def shown(value: Json) -> str:
    """Return a setting as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) > 1 and all(item == value[0] for item in value):
        return f"{len(value)} times {shown(value[0])}"
    return json.dumps(value)


def _value(settings: Mapping[str, Json], key: str) -> str | None:
    return canonical_json(settings[key]) if key in settings else None
