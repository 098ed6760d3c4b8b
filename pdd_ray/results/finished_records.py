"""The records of finished evaluations: what was planned, filled in from the store."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from pdd_ray.core import artifact_files
from pdd_ray.core.errors import DamagedArtifactError
from pdd_ray.core.operations import EVALUATION, kind_of
from pdd_ray.planning.sweep_plan import planned_records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.core.records import Record
    from pdd_ray.core.store import Store
    from pdd_ray.planning.sweep_plan import SweepPlan

RESULTS = ("step_size", "test_accuracy", "validation_accuracy", "test_images")
"""Fields of a record that its evaluation's ``result.json`` gives."""


def collect_records(plan: SweepPlan, store: Store) -> list[Record]:
    """Return the records of the finished evaluations of ``plan``, in its order."""
    return finished_records(planned_records(plan), store)


def finished_records(planned: Iterable[Record], store: Store) -> list[Record]:
    """Return the ``planned`` records whose evaluations are finished, with their results."""
    cost = _CostOfSets(store)
    return [_with_results(record, store, cost) for record in planned if store.exists(record.key)]


def _with_results(planned: Record, store: Store, cost: _CostOfSets) -> Record:
    try:
        text = (store.folder(planned.key) / artifact_files.RESULT).read_text(encoding="utf-8")
        result = {name: json.loads(text)[name] for name in RESULTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"its {artifact_files.RESULT} can't be read ({error})"
        raise DamagedArtifactError(planned.key, reason) from error
    manifest = store.manifest(planned.key)
    return replace(
        planned, **result, seconds=manifest["seconds"], cost_seconds=cost.of(planned.key)
    )


class _CostOfSets:
    """Adds up the time of the steps that led to what evaluations evaluated."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made_by = cache(self._read)

    def of(self, evaluation: str) -> float | None:
        """Return the seconds of all steps before the evaluation, other evaluations left out.

        None if one of them is not in the store any more.
        """
        seen: dict[str, float] = {}
        waiting = list(self._made_by(evaluation)[1])
        while waiting:
            key = waiting.pop()
            if key in seen:
                continue
            if not self._store.exists(key):
                return None
            seconds, inputs = self._made_by(key)
            seen[key] = 0.0 if kind_of(key) == EVALUATION.kind else seconds
            waiting += inputs
        return math.fsum(seen.values())

    def _read(self, key: str) -> tuple[float, tuple[str, ...]]:
        manifest = self._store.manifest(key)
        return manifest["seconds"], tuple(manifest["inputs"].values())
