"""What a sweep may be given as, and the sweep that it means, to be run or as it was run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pdd_ray.api.stores import StoreLike, store_at
from pdd_ray.configuration import yaml
from pdd_ray.configuration.expand import LoadedSweep
from pdd_ray.configuration.load import (
    Collection,
    load_collection,
    load_sweep,
    resolved,
    sweep_from,
    sweep_schema,
)
from pdd_ray.configuration.sweep import SweepSpec

if TYPE_CHECKING:
    from pdd_ray.core.identities import Json
    from pdd_ray.core.store import Store

Sweep: TypeAlias = str | Path | Mapping[str, Any] | SweepSpec | LoadedSweep
"""A file, a preset, a name in the store, the content of a file, or a sweep that was loaded."""


def config(
    sweep: Sweep, overrides: Sequence[str] = (), *, store: StoreLike = None
) -> dict[str, Json]:
    """Return a sweep with all its defaults, as ``pdd-ray config show`` does; it is one itself.

    Args:
        sweep: The sweep.
        overrides: ``KEY=VALUE``.
        store: Where else to look for its name.

    Raises:
        ConfigError: if something in the sweep is wrong.
    """
    if isinstance(sweep, str | Path):
        return resolved(load_sweep(str(sweep), overrides, store_at(store)).spec)
    return resolved(_given(sweep, overrides).spec)


def config_text(values: Mapping[str, Json], form: str = "yaml") -> str:
    """Return a configuration as ``yaml`` or ``json``; a file with the text is a sweep."""
    return json.dumps(values, indent=1) if form == "json" else yaml.dump(values)


def schema() -> dict[str, Any]:
    """Return the JSON schema of sweep files, as ``pdd-ray config schema`` does."""
    return sweep_schema()


def loaded(sweep: Sweep, overrides: Sequence[str], store: Store) -> Collection:
    """Return the sweeps that ``sweep`` consists of, with their experiments.

    Raises:
        ConfigError: if something in one of them is wrong.
    """
    if isinstance(sweep, str | Path):
        return load_collection(str(sweep), overrides, store)
    return Collection.of(_given(sweep, overrides))


def saved(sweep: Sweep, store: Store) -> Collection:
    """Return the sweeps that ``sweep`` consists of, as they were run last on ``store``.

    Raises:
        ConfigError: if one was not run on the store.
    """
    from pdd_ray.results.saved_sweeps import find_saved_collection

    return find_saved_collection(_name_of(sweep), store)


def _given(
    sweep: Mapping[str, Any] | SweepSpec | LoadedSweep, overrides: Sequence[str]
) -> LoadedSweep:
    if isinstance(sweep, Mapping):
        return sweep_from(sweep, overrides)
    if isinstance(sweep, SweepSpec):
        return sweep_from(resolved(sweep), overrides)
    return sweep_from(resolved(sweep.spec), overrides) if overrides else sweep


def _name_of(sweep: Sweep) -> str:
    if isinstance(sweep, Mapping):
        return str(sweep.get("name"))
    return str(sweep) if isinstance(sweep, str | Path) else sweep.name
