"""Sweeps that were run on a store: their steps, how far these are, and finished evaluations.

Written when a sweep is run and read from any other shell; needs neither the data nor Ray::

    sweeps/NAME/sweep.json      the resolved configuration, which can be run as it is
    sweeps/NAME/steps.json      every step: key, kind, label, keys of its inputs
    sweeps/NAME/planned.jsonl   every evaluation, its results still to be filled in
    sweeps/NAME/records.jsonl   the finished evaluations when it was run last

and of a collection of sweeps ``sweeps/NAME/collection.json``, the names of its sweeps.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from json.encoder import encode_basestring_ascii as encode
from typing import TYPE_CHECKING

from pdd_ray.configuration.load import Collection, load_collection, load_sweep, resolved
from pdd_ray.core import sweep_files
from pdd_ray.core.errors import ConfigError, StoreError
from pdd_ray.core.files import write_json, write_text
from pdd_ray.core.operations import in_order
from pdd_ray.core.records import Record, read_records, write_records
from pdd_ray.planning.sweep_plan import planned_records
from pdd_ray.results.finished_records import finished_records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pdd_ray.configuration.expand import LoadedSweep
    from pdd_ray.core.artifacts import Artifacts
    from pdd_ray.core.steps import Step
    from pdd_ray.core.store import Listing, Store
    from pdd_ray.planning.sweep_plan import SweepPlan


class StepState(StrEnum):
    """How far a step is, as far as the store tells."""

    DONE = "done"
    STARTED = "started"  # running, or it was interrupted
    FAILED = "failed"
    BLOCKED = "blocked"  # an input, or an input's input, failed
    TODO = "to do"


@dataclass(frozen=True)
class SavedStep:
    """A step of a sweep that was run; ``inputs`` holds the keys of its inputs by name."""

    key: str
    kind: str
    label: str
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class SweepStatus:
    """How far a sweep is.

    Attributes:
        sweep: Name of the sweep.
        steps: Its steps, inputs before what reads them.
        states: StepState by key.
        failures: Last failure by key, as one line.
    """

    sweep: str
    steps: tuple[SavedStep, ...]
    states: Mapping[str, StepState]
    failures: Mapping[str, str]

    def count(self, state: StepState, kind: str | None = None) -> int:
        """Return the number of steps in ``state``, of one kind or of all."""
        kinds = self.kinds if kind is None else (kind,)
        return sum(self._counts[each, state] for each in kinds)

    @cached_property
    def _counts(self) -> Counter[tuple[str, StepState]]:
        return Counter((step.kind, self.states[step.key]) for step in self.steps)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of steps, in the order of the method."""
        return in_order({step.kind for step in self.steps})


def save_plan(plan: SweepPlan, store: Store) -> None:
    """Write what :func:`read_status` and :func:`read_evaluations` need of ``plan``."""
    folder = store.sweep_folder(plan.sweep.name)
    write_text(folder / sweep_files.STEPS, _steps_text(plan.steps))
    write_records(folder / sweep_files.PLANNED, planned_records(plan))
    write_text(folder / sweep_files.SWEEP, json.dumps(resolved(plan.sweep), indent=1) + "\n")


def _steps_text(steps: Sequence[Step]) -> str:
    """Return ``steps`` as :class:`SavedStep` in indented JSON with sorted keys.

    Put together here, because ``json`` indents in Python: it takes twenty times as long.
    """
    return "[" + ",".join(map(_step_text, steps)) + "\n]\n" if steps else "[]\n"


def _step_text(step: Step) -> str:
    inputs = ",".join(
        f"\n   {encode(name)}: {encode(step.inputs[name].key)}" for name in sorted(step.inputs)
    )
    fields = (
        f'"inputs": {{{inputs}\n  }}' if inputs else '"inputs": {}',
        f'"key": {encode(step.key)}',
        f'"kind": {encode(step.kind)}',
        f'"label": {encode(step.label)}',
    )
    return "\n {\n  " + ",\n  ".join(fields) + "\n }"


def save_collection(collection: Collection, store: Store) -> None:
    """Write which sweeps a collection consists of; nothing for a single sweep."""
    if collection.single:
        return
    content = {
        "name": collection.name,
        "description": collection.description,
        "sweeps": [sweep.name for sweep in collection.sweeps],
    }
    write_json(store.sweep_folder(collection.name) / sweep_files.COLLECTION, content)


def find_saved_collection(source: str, store: Store) -> Collection:
    """Return the sweeps of the collection ``source``, or the sweep, as run last on ``store``.

    Args:
        source: A name; or a file or preset, of which only the names are read.
        store: The store.

    Raises:
        ConfigError: if no such sweep was run on the store.
    """
    if source in store.sweep_names():
        return Collection.of(find_saved_sweep(source, store))
    if source in store.collection_names():
        saved = json.loads((store.sweep_folder(source) / sweep_files.COLLECTION).read_text("utf-8"))
        names = [str(name) for name in saved["sweeps"]]
        name, description = str(saved["name"]), str(saved["description"])
    else:
        found = load_collection(source, store=store)
        name, description = found.name, found.description
        names = [sweep.name for sweep in found.sweeps]
    return Collection(name, description, tuple(find_saved_sweep(each, store) for each in names))


def find_saved_sweep(source: str, store: Store) -> LoadedSweep:
    """Return the sweep ``source`` as it was run last on ``store``.

    Args:
        source: Its name; or a file or preset, of which only the name is read.
        store: The store.

    Raises:
        ConfigError: if no such sweep was run on the store.
    """
    names = store.sweep_names()
    if source not in names:
        source = load_sweep(source, store=store).name
    if source not in names:
        msg = (
            f"the sweep {source!r} was not run on the store {store.root}; there is: "
            f"{', '.join(names) or 'none'}"
        )
        raise ConfigError(msg)
    return load_sweep(str(store.sweep_folder(source) / sweep_files.SWEEP))


def read_steps(sweep: str, store: Store) -> tuple[SavedStep, ...]:
    """Return the steps of the sweep of this name, inputs before what reads them.

    Raises:
        StoreError: if they can't be read.
    """
    path = store.sweep_folder(sweep) / sweep_files.STEPS
    try:
        return tuple(SavedStep(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(_unreadable(path, error)) from error


def read_evaluations(
    sweep: str, store: Store, artifacts: Artifacts | None = None
) -> tuple[list[Record], list[Record]]:
    """Return the planned and the finished evaluations of the sweep of this name.

    Args:
        sweep: The name.
        store: The store.
        artifacts: What the command has read of the store's artifacts so far.

    Raises:
        StoreError: if they can't be read.
    """
    planned = read_planned(sweep, store)
    return planned, finished_records(planned, store, artifacts)


def read_planned(sweep: str, store: Store) -> list[Record]:
    """Return the planned evaluations of the sweep of this name, their results left open.

    Raises:
        StoreError: if they can't be read.
    """
    return read_records(store.sweep_folder(sweep) / sweep_files.PLANNED)


def read_status(sweep: str, store: Store) -> SweepStatus:
    """Return how far the sweep of this name is.

    Raises:
        StoreError: if its steps can't be read.
    """
    steps = read_steps(sweep, store)
    listing = store.listing({step.kind for step in steps})
    states: dict[str, StepState] = {}
    failures: dict[str, str] = {}
    for step in steps:
        failure = store.failure(step.key) if step.key in listing.failed else None
        states[step.key] = _state(step, states, listing, failed=failure is not None)
        if failure is not None and states[step.key] is StepState.FAILED:
            failures[step.key] = failure.message
    return SweepStatus(sweep, steps, states, failures)


def is_running(key: str, store: Store) -> bool:
    """Return whether a worker reports the progress of ``key``, or was killed while it did."""
    return store.progress_path(key).is_file()


def find_step(name: str, store: Store) -> SavedStep:
    """Return the step whose label or key is ``name``, or the only one that begins so.

    Raises:
        ConfigError: if there is none, or several.
    """
    known = {step.key: step for sweep in store.sweep_names() for step in read_steps(sweep, store)}
    exact = [step for step in known.values() if name in (step.key, step.label)]
    found = exact or [step for step in known.values() if _begins(step, name)]
    if len(found) == 1:
        return found[0]
    if not found:
        msg = f"no step {name!r} in the store {store.root}; `pdd-ray status` lists its sweeps"
        raise ConfigError(msg)
    raise ConfigError("\n".join(_ambiguous(name, found)))


def _state(
    step: SavedStep, states: Mapping[str, StepState], listing: Listing, *, failed: bool
) -> StepState:
    if step.key in listing.committed:
        return StepState.DONE
    if step.key in listing.reporting:
        return StepState.STARTED
    if failed:
        return StepState.FAILED
    if any(
        states.get(key) in (StepState.FAILED, StepState.BLOCKED) for key in step.inputs.values()
    ):
        return StepState.BLOCKED
    return StepState.STARTED if step.key in listing.begun else StepState.TODO


def _begins(step: SavedStep, name: str) -> bool:
    digest = step.key.rpartition("-")[2]
    return any(text.startswith(name) for text in (step.key, digest, step.label))


def _ambiguous(name: str, found: Sequence[SavedStep], most: int = 10) -> list[str]:
    lines = [f"{name!r} is the beginning of {len(found)} steps; give more of it:"]
    lines += [f"  {step.label}  {step.key}" for step in found[:most]]
    return lines + (["  ..."] if len(found) > most else [])


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path} can't be read ({error}); run the sweep again to write it"
