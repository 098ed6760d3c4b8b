"""Checks of an experiment against its data set, before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.core.errors import ConfigError
from pdd_ray.core.labels import experiment_label
from pdd_ray.data.facts import validation_counts

if TYPE_CHECKING:
    from pdd_ray.configuration.expand import Experiment
    from pdd_ray.data.facts import DataFacts


def experiment_id(experiment: Experiment) -> str:
    """Return a readable name: ``variant/axis=value/seed0``."""
    return experiment_label(experiment.variant, experiment.axes, experiment.seed)


def check_experiment(experiment: Experiment, facts: DataFacts) -> None:
    """Refuse what would fail later: too few images of a class, too short trajectories.

    Raises:
        ConfigError: naming the experiment, what it asks for, and what there is.
    """
    spec = experiment.spec
    if set(spec.evaluation.modes) == {"full"}:
        return  # nothing is distilled
    held_out = validation_counts(facts, spec.data.validation_fraction)
    available = [n - v for n, v in zip(facts.train_counts, held_out, strict=True)]
    smallest = min(available)
    name = facts.classes[available.index(smallest)]
    for stage, entry in enumerate(spec.stages, start=1):
        method = spec.stage_method(stage)
        taken = method.real_images_per_class(entry.images_per_class)
        if taken > smallest:
            msg = (
                f"experiment {experiment_id(experiment)} needs {taken} images per class in stage "
                f"{stage}, class {name!r} has {smallest} train images (without the validation "
                "slice); lower images_per_class"
            )
            raise ConfigError(msg)
        if method.clusters > smallest:
            msg = (
                f"experiment {experiment_id(experiment)} makes {method.clusters} clusters of every "
                f"class, class {name!r} has {smallest} train images; lower method.real_batch_size"
            )
            raise ConfigError(msg)
    _check_length(experiment)


def _check_length(experiment: Experiment) -> None:
    spec = experiment.spec
    for stage in range(1, len(spec.stages) + 1):
        method = spec.stage_method(stage)
        needed = method.first_stage_epochs(stage)
        if spec.experts.epochs < needed:
            msg = (
                f"experiment {experiment_id(experiment)} has experts of {spec.experts.epochs} "
                f"epochs; the max_start_epoch and expert_epochs of stage {stage} need at least "
                f"{needed}: raise experts.epochs or lower method.max_start_epoch"
            )
            raise ConfigError(msg)
