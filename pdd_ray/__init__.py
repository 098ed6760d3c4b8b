"""Progressive dataset distillation on Ray.

Importing this package loads neither torch nor Ray; the modules that compute import them.
"Specification, section X" in docstrings is that section of docs/specification.md.

The functions of the command line are here: ``pdd_ray.run("demo")``; see docs/python.md. So are the
errors that they raise, and the package of tables and plots: ``from pdd_ray import analysis``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pdd_ray.core.errors import (
    ConfigError,
    DamagedArtifactError,
    DataError,
    ExtensionError,
    FormatError,
    InterruptedRunError,
    NonFiniteLossError,
    PddError,
    RecordFormatError,
    ResourceError,
    StepsFailedError,
    StoreError,
)
from pdd_ray.core.version import VERSION

if TYPE_CHECKING:
    import pdd_analysis as analysis
    from pdd_ray.api.keys import describe
    from pdd_ray.api.logs import logs
    from pdd_ray.api.machine import doctor
    from pdd_ray.api.reading import load_set, pictures, plots, status, table, write_report
    from pdd_ray.api.running import Plan, RunResult, plan, run
    from pdd_ray.api.sweeps import config, schema

__version__ = VERSION
__all__ = [
    "ConfigError",
    "DamagedArtifactError",
    "DataError",
    "ExtensionError",
    "FormatError",
    "InterruptedRunError",
    "NonFiniteLossError",
    "PddError",
    "Plan",
    "RecordFormatError",
    "ResourceError",
    "RunResult",
    "StepsFailedError",
    "StoreError",
    "analysis",
    "config",
    "describe",
    "doctor",
    "load_set",
    "logs",
    "pictures",
    "plan",
    "plots",
    "run",
    "schema",
    "status",
    "table",
    "write_report",
]

_HOMES = {
    "Plan": "running",
    "RunResult": "running",
    "config": "sweeps",
    "describe": "keys",
    "doctor": "machine",
    "load_set": "reading",
    "logs": "logs",
    "pictures": "reading",
    "plan": "running",
    "plots": "reading",
    "run": "running",
    "schema": "sweeps",
    "status": "reading",
    "table": "reading",
    "write_report": "reading",
}
"""Module of ``pdd_ray.api`` of each name that is imported when it is first used."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - functions of several types, and a module
    """Return a function of ``pdd_ray.api``, or the package ``pdd_analysis`` as ``analysis``."""
    if name == "analysis":
        return import_module("pdd_analysis")
    if name not in _HOMES:
        msg = f"module 'pdd_ray' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"pdd_ray.api.{_HOMES[name]}"), name)
