"""How far sweeps are, in words and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.core.text import columns
from pdd_ray.results.saved_sweeps import StepState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.core.identities import Json
    from pdd_ray.results.saved_sweeps import SweepStatus

SCHEMA = "pdd-ray/status/1"
"""Names the layout of the JSON form; changes when a reader has to change."""


def status_lines(status: SweepStatus) -> list[str]:
    """Return the steps by kind and state, and what failed."""
    header = [status.sweep, *StepState]
    rows = [
        [kind, *(str(status.count(state, kind) or "-") for state in StepState)]
        for kind in status.kinds
    ]
    total = ["all", *(str(status.count(state) or "-") for state in StepState)]
    labels = {step.key: step.label for step in status.steps}
    failures = [f"failed: {labels[key]}: {text}" for key, text in status.failures.items()]
    return [*columns([header, *rows, total]), *failures]


def status_as_json(statuses: Iterable[SweepStatus]) -> dict[str, Json]:
    """Return how far sweeps are, each with its steps by kind and state, and what failed."""
    return {"schema": SCHEMA, "sweeps": [_as_json(status) for status in statuses]}


def _as_json(status: SweepStatus) -> dict[str, Json]:
    labels = {step.key: step.label for step in status.steps}
    return {
        "sweep": status.sweep,
        "steps": {state.value: status.count(state) for state in StepState},
        "kinds": {
            kind: {state.value: status.count(state, kind) for state in StepState}
            for kind in status.kinds
        },
        "failures": [
            {"key": key, "label": labels[key], "message": text}
            for key, text in status.failures.items()
        ],
    }
