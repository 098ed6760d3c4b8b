"""Analysis of finished evaluations: tables, plots and pictures; needs neither torch nor Ray."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdd_analysis.loading import frame, load
    from pdd_analysis.tables import make_table, render

__all__ = ["frame", "load", "make_table", "render"]

_HOMES = {
    "frame": "pdd_analysis.loading",
    "load": "pdd_analysis.loading",
    "make_table": "pdd_analysis.tables",
    "render": "pdd_analysis.tables",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - functions of several types
    """Return a function of the package; its module is imported when it is first used."""
    if name not in _HOMES:
        msg = f"module 'pdd_analysis' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)
