"""Progressive dataset distillation on Ray.

Importing this package loads neither torch nor Ray; the modules that compute import them.
"Specification, section X" in docstrings is that section of docs/specification.md.

The functions of the command line are here: ``pdd_ray.run("demo")``; see docs/python.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pdd_ray.core.version import VERSION

if TYPE_CHECKING:
    from pdd_ray.api.functions import (
        Plan,
        RunResult,
        config,
        load_set,
        logs,
        pictures,
        plan,
        plots,
        run,
        schema,
        status,
        table,
        write_report,
    )
    from pdd_ray.api.keys import describe

__version__ = VERSION
__all__ = [
    "Plan",
    "RunResult",
    "config",
    "describe",
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


def __getattr__(name: str) -> Any:  # noqa: ANN401 - functions of several types
    """Return a function of ``pdd_ray.api``, of which a module is imported when it is first used."""
    if name not in __all__:
        msg = f"module 'pdd_ray' has no attribute {name!r}"
        raise AttributeError(msg)
    module = "keys" if name == "describe" else "functions"
    return getattr(import_module(f"pdd_ray.api.{module}"), name)
