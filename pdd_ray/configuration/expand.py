"""Experiments and the sweep that has them: variants x grid x seeds, each combination one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdd_ray.configuration.document import Node, Place, from_plain, nest, split_path
from pdd_ray.configuration.experiment import ExperimentSpec
from pdd_ray.configuration.explain import validate
from pdd_ray.configuration.merge import merge_experiment, undot
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.identities import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pdd_ray.configuration.sweep import SweepSpec
    from pdd_ray.core.identities import Json

BASE_VARIANT = "base"
"""Name of the only variant of a sweep without variants."""


@dataclass(frozen=True)
class Experiment:
    """One seed of one setting of a sweep.

    Attributes:
        sweep: Name of the sweep.
        variant: Name of the variant; ``base`` in a sweep without variants.
        seed: Seed of experts, distillation and evaluation.
        axes: Values of the grid axes, by dotted key.
        spec: Everything else.
    """

    sweep: str
    variant: str
    seed: int
    axes: Mapping[str, Json]
    spec: ExperimentSpec


@dataclass(frozen=True)
class LoadedSweep:
    """A sweep that was checked, with the experiments that it expands to.

    Attributes:
        spec: The sweep with all its defaults.
        experiments: Variants in order, then grid points, then seeds.
    """

    spec: SweepSpec
    experiments: tuple[Experiment, ...]

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.spec.name

    @property
    def settings(self) -> list[Experiment]:
        """Every variant at every point of its grid, with the first seed."""
        return [one for one in self.experiments if one.seed == self.spec.seeds[0]]


@dataclass(frozen=True)
class SettingDocument:
    """One variant at one point of its grid, not yet validated; ``place`` is where it is written."""

    variant: str
    axes: Mapping[str, Json]
    document: Node
    place: Place


def expand(sweep: SweepSpec) -> list[Experiment]:
    """Return the experiments of ``sweep``: variants in order, then grid points, then seeds.

    For specifications made in code: a sweep that was loaded has them (:class:`LoadedSweep`).

    Raises:
        ConfigError: if a variant or an axis value makes no valid experiment, or the same one as
            another; one line each.
    """
    document = from_plain(sweep.to_json(), Place(f"sweep {sweep.name}: ", ""))
    return experiments_of(sweep, checked_settings(document))


def experiments_of(
    sweep: SweepSpec, settings: Iterable[tuple[SettingDocument, ExperimentSpec]]
) -> list[Experiment]:
    """Return an experiment for every one of ``settings`` and seed of ``sweep``."""
    return [
        Experiment(sweep.name, setting.variant, seed, setting.axes, spec)
        for setting, spec in settings
        for seed in sweep.seeds
    ]


def checked_settings(sweep: Node) -> list[tuple[SettingDocument, ExperimentSpec]]:
    """Return the settings of the document ``sweep`` with their specifications.

    Raises:
        ConfigError: one line per problem, each problem once.
    """
    checked: list[tuple[SettingDocument, ExperimentSpec]] = []
    problems: dict[str, None] = {}
    known: dict[str, SettingDocument] = {}
    for setting in settings(sweep, problems):
        try:
            spec = validate(ExperimentSpec, setting.document)
        except ConfigError as error:
            problems.update(dict.fromkeys(str(error).splitlines()))
            continue
        checked.append((setting, spec))
        first = known.setdefault(digest([setting.variant, spec.filled_in()]), setting)
        if first is not setting:
            problems[_same_experiment(setting, first)] = None
    if problems:
        raise ConfigError("\n".join(problems))
    return checked


def _same_experiment(setting: SettingDocument, first: SettingDocument) -> str:
    """Return what is wrong with two points of a grid that make the same experiment."""
    pairs = ", ".join(
        f"{axis}={value!r} and {first.axes[axis]!r}"
        for axis, value in setting.axes.items()
        if value != first.axes[axis]
    )
    return f"{setting.place}: two points of the grid make the same experiment: {pairs}"


def settings(sweep: Node, problems: dict[str, None]) -> Iterator[SettingDocument]:
    """Yield the settings of the document ``sweep``; what is wrong goes to ``problems``."""
    entries = sweep.mapping()
    base = sweep.with_value({k: v for k, v in entries.items() if k in ExperimentSpec.model_fields})
    variants = entries["variants"].mapping() if "variants" in entries else {}
    unchanged = Node({}, sweep.place)
    for variant, changes in (variants or {BASE_VARIANT: unchanged}).items():
        grid = changes.get("grid") or entries.get("grid")
        try:
            changed = _changed(base, changes)
            points = list(_points(grid, problems))
            documents = [_at_point(changed, point) for point in points]
        except ConfigError as error:
            problems.update(dict.fromkeys(str(error).splitlines()))
            continue
        for point, document in zip(points, documents, strict=True):
            axes = {axis: value.plain() for axis, value in point.items()}
            place = next(reversed(point.values())).place if point else changed.place
            yield SettingDocument(variant, axes, document, place)


def _changed(base: Node, changes: Node) -> Node:
    patch = undot({key: node for key, node in changes.mapping().items() if key != "grid"})
    return merge_experiment(base, changes.with_value(patch)) if patch else base


def _points(grid: Node | None, problems: dict[str, None]) -> Iterator[dict[str, Node]]:
    axes: dict[str, list[Node]] = {}
    if grid is not None and not isinstance(grid.value, dict):
        problems[f"{grid.place}: should be a mapping of axes to lists, got {grid.plain()!r}"] = None
    for axis, values in grid.mapping().items() if grid else ():
        problem = _axis_problem(values)
        if problem:
            problems[problem] = None
        elif isinstance(values.value, list):
            axes[axis] = [Node(x.value, x.place, values.place) for x in values.value]
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination, strict=True))


def _axis_problem(values: Node) -> str | None:
    plain = values.plain()
    if not isinstance(plain, list):
        return f"{values.place}: an axis should be a list of values, got {plain!r}"
    if not plain:
        return f"{values.place}: the axis has no values"
    for index, (_, node) in enumerate(values.children()):
        if plain[index] in plain[:index]:
            return f"{node.place}: the axis repeats the value {plain[index]!r}"
    return None


def _at_point(base: Node, point: Mapping[str, Node]) -> Node:
    for axis, value in point.items():
        key = value.key_place or value.place
        base = merge_experiment(base, nest(split_path(axis, key), value))
    return base
