"""The records of finished evaluations: what was planned, filled in from the store."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pdd_ray.core import artifact_files
from pdd_ray.core.artifacts import Artifacts
from pdd_ray.core.errors import DamagedArtifactError
from pdd_ray.core.operations import EVALUATION, kind_of
from pdd_ray.planning.sweep_plan import planned_records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdd_ray.core.artifacts import Making
    from pdd_ray.core.records import Record
    from pdd_ray.core.store import Store
    from pdd_ray.planning.sweep_plan import SweepPlan

RESULTS = ("step_size", "test_accuracy", "validation_accuracy", "test_images")
"""Fields of a record that its evaluation's ``result.json`` gives."""


def collect_records(
    plan: SweepPlan, store: Store, artifacts: Artifacts | None = None
) -> list[Record]:
    """Return the records of the finished evaluations of ``plan``, in its order.

    Args:
        plan: The plan.
        store: The store.
        artifacts: What the command has read of the store's artifacts so far.
    """
    return finished_records(planned_records(plan), store, artifacts)


def finished_records(
    planned: Iterable[Record], store: Store, artifacts: Artifacts | None = None
) -> list[Record]:
    """Return the ``planned`` records whose evaluations are finished, with their results."""
    artifacts = artifacts or Artifacts(store)
    cost = _CostOfSets(artifacts)
    found = ((record, artifacts.making(record.key)) for record in planned)
    return [
        _with_results(record, making, store, cost) for record, making in found if making is not None
    ]


def _with_results(planned: Record, making: Making, store: Store, cost: _CostOfSets) -> Record:
    try:
        content = json.loads(store.read(planned.key, artifact_files.RESULT))
        result = {name: content[name] for name in RESULTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"its {artifact_files.RESULT} can't be read ({error})"
        raise DamagedArtifactError(planned.key, reason) from error
    return replace(planned, **result, seconds=making.seconds, cost_seconds=cost.of(planned.key))


class _CostOfSets:
    """Adds up the time of the steps that led to what evaluations evaluated."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._costs: dict[frozenset[str], float | None] = {}

    def of(self, evaluation: str) -> float | None:
        """Return the seconds of all steps before the evaluation, other evaluations left out.

        None if one of them is not in the store any more. Networks that evaluate the same set have
        the same steps before them, which are added up once.
        """
        direct: set[str] = set()
        waiting, seen = [evaluation], {evaluation}
        while waiting:
            making = self._artifacts.making(waiting.pop())
            if making is None:
                return None
            for key in making.inputs.values():
                if kind_of(key) != EVALUATION.kind:
                    direct.add(key)
                elif key not in seen:
                    seen.add(key)
                    waiting.append(key)
        needed = frozenset(direct)
        if needed not in self._costs:
            self._costs[needed] = self._sum(needed)
        return self._costs[needed]

    def _sum(self, keys: frozenset[str]) -> float | None:
        """Return the seconds of the steps ``keys`` and of all before them, or None."""
        seen: dict[str, float] = {}
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key in seen:
                continue
            making = self._artifacts.making(key)
            if making is None:
                return None
            seen[key] = 0.0 if kind_of(key) == EVALUATION.kind else making.seconds
            waiting += making.inputs.values()
        return math.fsum(seen.values())
