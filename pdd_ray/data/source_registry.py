"""SOURCES: every data source that is built in or that an installed package adds."""

from __future__ import annotations

from typing import Final

from pdd_ray.core.extensions import extensions
from pdd_ray.data.source import DataSource

GROUP: Final = "pdd_ray.data"
"""Entry points of data sources."""

SOURCES: Final = extensions(
    GROUP,
    DataSource,  # type: ignore[type-abstract] # only its subclasses are made
    "pdd_ray.data.sources",
    lambda source: source.name,
)
"""Every data source by name."""
