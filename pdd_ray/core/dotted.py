"""Dotted names: of settings inside settings, and of the axes of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdd_ray.core.identities import Json

_GRID = "grid."


def flat(settings: Mapping[str, Json], prefix: str = "", *, lists: bool = False) -> dict[str, Json]:
    """Return nested ``settings`` as one mapping with dotted keys.

    Args:
        settings: Settings by name; an empty mapping in them stays one.
        prefix: What all keys begin with.
        lists: Enter lists of mappings as well: ``stages[0].images_per_class``. Other lists are
            values.
    """
    values: dict[str, Json] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            values |= flat(value, f"{prefix}{name}.", lists=lists)
        elif lists and isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            items = {f"{name}[{index}]": item for index, item in enumerate(value)}
            values |= flat(items, prefix, lists=True)
        else:
            values[prefix + name] = value
    return values


def last_part(key: str) -> str:
    """Return the name behind the last dot of ``key``: ``iterations`` of ``method.iterations``."""
    return key.rpartition(".")[2]


def grid_key(axis: str) -> str:
    """Return the key of a grid axis among other keys: ``grid.method.iterations``."""
    return _GRID + axis


def axis_of(key: str) -> str | None:
    """Return the grid axis that ``key`` is the :func:`grid_key` of; None for another key."""
    return key.removeprefix(_GRID) if key.startswith(_GRID) and key != _GRID else None
