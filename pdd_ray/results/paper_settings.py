"""How the settings of a sweep differ from the paper's, which a preset of ``sweeps/paper`` has.

A published number is shown beside a result only where nothing differs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pdd_analysis.fields import NOTHING, setting_key
from pdd_analysis.published import Published, SettingComparison
from pdd_ray.configuration.load import load_sweep, presets
from pdd_ray.configuration.method import DistillationSpec
from pdd_ray.core.dotted import flat
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdd_ray.configuration.expand import Experiment, LoadedSweep
    from pdd_ray.configuration.experiment import ExperimentSpec
    from pdd_ray.core.identities import Json

IGNORED = (
    "data.root",
    "data.download",
    "evaluation.networks",
    "evaluation.modes",
    "evaluation.prefixes",
    "evaluation.models",
    "evaluation.curve_points",
    "protocol",
    "precision.tf32",
    "deterministic",
)
"""Settings that say where data lies, which evaluations are made and how many, and how numbers are
rounded, of which no paper speaks. Mode, stages and model are compared result by result; the
protocol is named in every caption."""


def published_beside(sweep: LoadedSweep) -> Published | None:
    """Return the paper's table for ``sweep``, and how each setting differs from the paper's.

    The paper's settings are those of the preset that ``reference`` names, or of the preset that
    the sweep itself is; None for a sweep of no table, or without either.

    Raises:
        ConfigError: if there is no such preset.
    """
    name = sweep.spec.reference or _own_preset(sweep)
    if sweep.spec.paper is None or name is None:
        return None
    try:
        reference = load_sweep(name)
    except ConfigError as error:
        raise ConfigError(f"reference: {error}") from error
    of_paper: dict[str, list[dict[str, str]]] = {}
    for experiment in reference.settings:
        of_paper.setdefault(experiment.variant, []).append(_texts(experiment.spec))
    return Published(
        table=sweep.spec.paper,
        reference=name,
        settings={
            setting_key(experiment.variant, experiment.axes): _setting(experiment, of_paper, name)
            for experiment in sweep.settings
        },
    )


def _own_preset(sweep: LoadedSweep) -> str | None:
    """Return the preset of ``sweeps/paper`` that has the name of ``sweep``."""
    name = sweep.name.replace("paper-", "paper/", 1)
    return name if name.startswith("paper/") and name in presets() else None


def _setting(
    experiment: Experiment, of_paper: Mapping[str, Sequence[Mapping[str, str]]], reference: str
) -> SettingComparison:
    spec = experiment.spec
    points = of_paper.get(experiment.variant)
    if points is None:
        differs: tuple[str, ...] = (f"no variant {experiment.variant!r} in {reference}",)
    else:
        own = _texts(spec)
        # the point of the preset's grid that is nearest
        differs = min((differences(own, paper) for paper in points), key=len)
    distils = isinstance(spec.method, DistillationSpec)
    return SettingComparison(
        differs=differs,
        update_previous=distils and getattr(spec.method, "update_previous", None) is not None,
        easy_to_hard=distils and getattr(spec.method, "difficulty", None) is not None,
        continual_protocol=spec.continual.protocol if spec.continual else None,
    )


def differences(own: Mapping[str, str], paper: Mapping[str, str]) -> tuple[str, ...]:
    """Return ``key: own (paper's)`` for every setting that differs; one that is not there is –."""
    keys = dict.fromkeys([*own, *paper])
    return tuple(
        f"{key}: {own.get(key, NOTHING)} ({paper.get(key, NOTHING)})"
        for key in keys
        if own.get(key) != paper.get(key)
    )


def _texts(spec: ExperimentSpec) -> dict[str, str]:
    """Return all settings that count as texts, by dotted key, with what recipes say filled in."""
    sizes = [str(stage.images_per_class) for stage in spec.stages]
    equal = len(set(sizes)) == 1
    shape = f"{len(sizes)} x {sizes[0]}" if equal else " + ".join(sizes)
    settings: dict[str, Json] = {"stages": shape, **flat(spec.filled_in(), lists=True)}
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in settings.items()
        if value != {}
        and not key.endswith("].images_per_class")
        and not any(key == ignored or key.startswith(ignored + ".") for ignored in IGNORED)
    }
