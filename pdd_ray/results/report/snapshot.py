"""A snapshot of a sweep that all parts of its page read: steps, states, results, manifests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pdd_ray.core.artifacts import Artifacts
from pdd_ray.core.errors import DamagedArtifactError
from pdd_ray.core.identities import canonical_json
from pdd_ray.results.saved_sweeps import StepState, read_evaluations, read_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pdd_ray.configuration.expand import LoadedSweep
    from pdd_ray.core.artifacts import Making
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record
    from pdd_ray.core.store import Store
    from pdd_ray.results.saved_sweeps import SavedStep, SweepStatus

ExperimentId = tuple[str, str, int]
"""An experiment: variant, canonical JSON of its axes, seed."""


@dataclass(frozen=True)
class Snapshot:
    """A sweep as its store has it at one moment.

    Attributes:
        sweep: The sweep as it was run last.
        store: The store.
        status: Its steps and their states.
        steps: The same steps by key.
        planned: Every evaluation, its results still to be filled in.
        finished: The finished evaluations.
        artifacts: What was read of the store's artifacts.
        makings: How every step that is done was made, by key.
    """

    sweep: LoadedSweep
    store: Store
    status: SweepStatus
    steps: Mapping[str, SavedStep]
    planned: tuple[Record, ...]
    finished: tuple[Record, ...]
    artifacts: Artifacts
    makings: Mapping[str, Making]

    def state(self, step: SavedStep) -> StepState:
        """Return how far ``step`` is."""
        return self.status.states[step.key]

    def seconds(self, step: SavedStep) -> float | None:
        """Return how long ``step`` took; None as long as it is not done."""
        making = self.makings.get(step.key)
        return None if making is None else float(making.seconds)

    @cached_property
    def steps_by_experiment(self) -> dict[ExperimentId, list[SavedStep]]:
        """The steps that each experiment needs, inputs before what reads them."""
        ends: dict[ExperimentId, list[str]] = {}
        for record in self.planned:
            ends.setdefault(experiment_of_record(record), []).append(record.key)
        return {experiment: self.needed(keys) for experiment, keys in ends.items()}

    def needed(self, keys: Iterable[str]) -> list[SavedStep]:
        """Return the steps ``keys`` and all that they need, inputs before what reads them."""
        found: set[str] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += self.steps[key].inputs.values()
        return [self.steps[key] for key in sorted(found, key=self._places.__getitem__)]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.steps)}


def read_snapshot(sweep: LoadedSweep, store: Store) -> Snapshot:
    """Return what ``store`` has of ``sweep``, which was run on it.

    Raises:
        StoreError: if it can't be read.
    """
    artifacts = Artifacts(store)
    status = read_status(sweep.name, store)
    planned, finished = read_evaluations(sweep.name, store, artifacts)
    return Snapshot(
        sweep=sweep,
        store=store,
        status=status,
        steps={step.key: step for step in status.steps},
        planned=tuple(planned),
        # of a running sweep, more may be finished by now than when the states were read
        finished=tuple(one for one in finished if status.states[one.key] is StepState.DONE),
        artifacts=artifacts,
        makings={
            step.key: _making(step.key, artifacts)
            for step in status.steps
            if status.states[step.key] is StepState.DONE
        },
    )


def _making(key: str, artifacts: Artifacts) -> Making:
    making = artifacts.making(key)
    if making is None:
        raise DamagedArtifactError(key, "its manifest is missing")
    return making


def experiment_of_record(record: Record) -> ExperimentId:
    """Return the experiment of an evaluation."""
    return experiment_of(record.variant, record.axes, record.seed)


def experiment_of(variant: str, axes: Mapping[str, Json], seed: int) -> ExperimentId:
    """Return the experiment with these values."""
    return variant, canonical_json(axes), seed
