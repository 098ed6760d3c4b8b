"""The store that a command or a function works on: named, found or made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from pdd_ray.core.errors import StoreError
from pdd_ray.core.store import Store

DEFAULT_STORE = Path("pdd-ray-store")
STORE_VARIABLE = "PDD_RAY_STORE"
"""Environment variable that names the store if nothing else does."""
StoreLike: TypeAlias = Store | str | Path | None
"""A store or its folder; None is that of PDD_RAY_STORE, or ``pdd-ray-store``."""


def store_at(store: StoreLike) -> Store:
    """Return the store that ``store`` means, which need not exist."""
    if isinstance(store, Store):
        return store
    return Store(store or os.environ.get(STORE_VARIABLE) or DEFAULT_STORE)


def open_store(store: StoreLike) -> Store:
    """Return the store that ``store`` means, made if it is not there.

    Raises:
        StoreError: if it can't be created or written, or has another format.
    """
    return store_at(store).open()


def existing_store(store: StoreLike) -> Store:
    """Return the store that ``store`` means, for reading.

    Raises:
        StoreError: if there is none.
    """
    found = store_at(store)
    if not found.exists_on_disk:
        msg = (
            f"there is no store at {found.root}; run a sweep first, or name the store with "
            f"--store or {STORE_VARIABLE}"
        )
        raise StoreError(msg)
    return found
