"""The keys that are promised to stay, and the command that writes them anew.

    python -m tests.planning.golden_keys

``golden_keys.json`` has the key of every step of the demo, and of one table of the paper the number
of keys and their digest by operation.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pdd_ray.configuration.load import load_sweep
from pdd_ray.core.identities import digest
from pdd_ray.data.facts import read_facts
from pdd_ray.planning.sweep_plan import plan_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdd_ray.core.steps import Step

FILE = Path(__file__).with_suffix(".json")
TABLE = "paper/table4"
"""Progressive MTT with and without conditioning and transition, at the paper's scale."""


def current_keys() -> dict[str, Any]:
    """Return what ``golden_keys.json`` would hold for the code as it is; nothing is run."""
    by_operation: dict[str, list[str]] = {}
    with TemporaryDirectory() as nowhere:
        table = [f"data.root={nowhere}", "data.download=true"]
        for step in _steps(TABLE, table):
            by_operation.setdefault(step.operation.name, []).append(step.key)
        return {
            "demo": {step.label: step.key for step in _steps("demo", ())},
            TABLE: {
                name: {"steps": len(keys), "digest": digest(sorted(keys))}
                for name, keys in by_operation.items()
            },
        }


def _steps(sweep: str, overrides: Sequence[str]) -> Sequence[Step]:
    loaded = load_sweep(sweep, overrides)
    with TemporaryDirectory() as cache:
        plan = plan_sweep(
            loaded.spec, loaded.experiments, lambda spec: read_facts(spec, Path(cache))
        )
        return plan.steps


if __name__ == "__main__":
    text = json.dumps(current_keys(), indent=1, sort_keys=True) + "\n"
    FILE.write_text(text, encoding="utf-8")
