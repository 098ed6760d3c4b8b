"""Every experiment of the sweep: settings, stages with their curves and logs, evaluations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING

from pdd_ray.configuration import yaml
from pdd_ray.core import artifact_files
from pdd_ray.core.dotted import flat
from pdd_ray.core.errors import DamagedArtifactError
from pdd_ray.core.labels import name_within_experiment
from pdd_ray.core.operations import IMAGE_KINDS
from pdd_ray.results.report.logs import Log, read_log
from pdd_ray.results.report.settings import differing, setting_title, shown
from pdd_ray.results.report.snapshot import experiment_of, experiment_of_record
from pdd_ray.results.report.sparkline import Sparkline, sparkline
from pdd_ray.results.saved_sweeps import StepState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pdd_ray.configuration.expand import Experiment
    from pdd_ray.core.identities import Json
    from pdd_ray.core.records import Record
    from pdd_ray.results.report.budget import Budget
    from pdd_ray.results.report.snapshot import ExperimentId, Snapshot
    from pdd_ray.results.saved_sweeps import SavedStep

LOSS = "loss"
"""The curve that is shown first."""


@dataclass(frozen=True)
class StageSection:
    """A stage of one experiment.

    Attributes:
        step: Its step.
        name: Its name within the experiment.
        state: How far it is.
        seconds: How long it took.
        facts: What its outcome says, as text by name.
        loss: Its loss; None if it has no such curve.
        curves: Its other curves.
        log: The end of its log; None if there is none, or it is shown or left out elsewhere.
        shown_before: Whether another experiment has the same stage, shown above with its log.
    """

    step: SavedStep
    name: str
    state: StepState
    seconds: float | None
    facts: Mapping[str, str]
    loss: Sparkline | None
    curves: tuple[Sparkline, ...]
    log: Log | None
    shown_before: bool


@dataclass(frozen=True)
class EvaluationSection:
    """An evaluation: what was planned, how far it is, and its results if it is finished."""

    planned: Record
    state: StepState
    result: Record | None


@dataclass(frozen=True)
class ExperimentSection:
    """One seed of a setting.

    Attributes:
        seed: The seed.
        steps: Steps that it needs.
        done: How many of them are done.
        failed: How many of them failed, or need what failed.
        seconds: Time of those that are done.
        stages: Its stages in order.
        evaluations: Its evaluations.
    """

    seed: int
    steps: int
    done: int
    failed: int
    seconds: float
    stages: tuple[StageSection, ...]
    evaluations: tuple[EvaluationSection, ...]

    @property
    def fact_names(self) -> list[str]:
        """Names of what the outcomes of its stages say."""
        return list(dict.fromkeys(name for stage in self.stages for name in stage.facts))


@dataclass(frozen=True)
class SettingSection:
    """A variant at one point of its grid, with its seeds.

    Attributes:
        title: Variant and axes.
        differing: Settings in which the experiments of the sweep differ, as text by key.
        resolved: All settings, as YAML.
        experiments: Its seeds.
    """

    title: str
    differing: Mapping[str, str]
    resolved: str
    experiments: tuple[ExperimentSection, ...]


def read_experiments(snapshot: Snapshot, budget: Budget) -> list[SettingSection]:
    """Return the settings of the sweep with their experiments; logs as far as ``budget`` lasts."""
    seeds: dict[ExperimentId, list[Experiment]] = {}
    for one in snapshot.sweep.experiments:
        seeds.setdefault(_setting(one), []).append(one)
    resolved = [members[0].spec.to_json() for members in seeds.values()]
    settings = [flat(values) for values in resolved]
    keys = differing(settings)
    reader = _ExperimentReader(snapshot, budget)
    section = cache(_section)
    return [
        SettingSection(
            title=setting_title(members[0].variant, members[0].axes),
            differing={key: shown(values[key]) for key in keys if key in values},
            resolved="".join(section(key, json.dumps(value)) for key, value in whole.items()),
            experiments=tuple(reader.read(one) for one in members),
        )
        for members, values, whole in zip(seeds.values(), settings, resolved, strict=True)
    ]


class _ExperimentReader:
    """Reads experiments one after the other; what they share is shown in full only once."""

    def __init__(self, snapshot: Snapshot, budget: Budget) -> None:
        self._snapshot = snapshot
        self._budget = budget
        self._needed = snapshot.steps_by_experiment
        self._shown: set[str] = set()
        self._finished = {record.key: record for record in snapshot.finished}
        self._planned: dict[ExperimentId, list[Record]] = {}
        for record in snapshot.planned:
            experiment = experiment_of_record(record)
            self._planned.setdefault(experiment, []).append(record)

    def read(self, experiment: Experiment) -> ExperimentSection:
        """Return the report of one experiment."""
        identity = experiment_of(experiment.variant, experiment.axes, experiment.seed)
        steps = self._needed.get(identity, [])
        states = [self._snapshot.state(step) for step in steps]
        return ExperimentSection(
            seed=experiment.seed,
            steps=len(steps),
            done=states.count(StepState.DONE),
            failed=states.count(StepState.FAILED) + states.count(StepState.BLOCKED),
            seconds=sum(self._snapshot.seconds(step) or 0.0 for step in steps),
            stages=tuple(self._stage(step) for step in steps if step.kind in IMAGE_KINDS),
            evaluations=tuple(self._evaluation(one) for one in self._planned.get(identity, [])),
        )

    def _stage(self, step: SavedStep) -> StageSection:
        before = step.key in self._shown
        self._shown.add(step.key)
        done = step.key in self._snapshot.makings
        folder = self._snapshot.store.folder(step.key)
        curves = _read_json(step.key, folder / artifact_files.CURVES) if done and not before else {}
        outcome = _read_json(step.key, folder / artifact_files.OUTCOME) if done else {}
        lines = {name: sparkline(name, _numbers(values)) for name, values in curves.items()}
        return StageSection(
            step=step,
            name=name_within_experiment(step.label),
            state=self._snapshot.state(step),
            seconds=self._snapshot.seconds(step),
            facts={name: _fact(value) for name, value in outcome.items() if name != "stage"},
            loss=lines.pop(LOSS, None),
            curves=tuple(line for line in lines.values() if line is not None),
            log=None if before else self._log(step),
            shown_before=before,
        )

    def _log(self, step: SavedStep) -> Log | None:
        log = read_log(self._snapshot.store.log_path(step.key))
        return log if log and self._budget.take(len(escape(log.text))) else None

    def _evaluation(self, planned: Record) -> EvaluationSection:
        step = self._snapshot.steps[planned.key]
        return EvaluationSection(
            planned, self._snapshot.state(step), self._finished.get(planned.key)
        )


def _section(key: str, text: str) -> str:
    """Return an entry of a mapping, whose value is the JSON ``text``, as YAML.

    The YAML of a mapping is that of its entries, one after the other, and the settings of a sweep
    have most entries in common.
    """
    return yaml.dump({key: json.loads(text)})


def _setting(experiment: Experiment) -> ExperimentId:
    return experiment_of(experiment.variant, experiment.axes, 0)


def _read_json(key: str, path: Path) -> dict[str, Json]:
    """Return the mapping of a file of the artifact ``key``; an empty one if it has none."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedArtifactError(key, f"{path.name} can't be read ({error})") from error
    if not isinstance(values, dict):
        raise DamagedArtifactError(key, f"{path.name} is not a mapping")
    return values


def _numbers(values: Json) -> Sequence[float | None]:
    """Return a curve's values, None for what is no number."""
    if not isinstance(values, list):
        return []
    return [float(value) if isinstance(value, int | float) else None for value in values]


def _fact(value: Json) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(value)
