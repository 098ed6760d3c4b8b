"""Steps as Ray Tune trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray import tune

from pdd_ray.runtime.worker import execute_and_tell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_ray.core.identities import Json
    from pdd_ray.core.steps import Step, StepCall


LEAST = {"CPU": 0.001}
"""What a trial holds that asks for nothing: Ray refuses empty groups."""


def trial_config(step: Step) -> dict[str, Json]:
    """Return the configuration of the trial that executes ``step``: small, by key."""
    return {
        "key": step.key,
        "label": step.label,
        "cpus": step.resources.cpus,
        "gpus": step.resources.gpus,
        "memory": step.resources.memory or 0,
    }


def trial_resources(config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - Ray is untyped
    """Return the placement group of a trial; equal resources give equal groups."""
    wanted = {"CPU": config["cpus"], "GPU": config["gpus"], "memory": config["memory"]}
    held = {name: value for name, value in wanted.items() if value}
    return tune.PlacementGroupFactory([held or LEAST])


def run_trial(
    config: Mapping[str, Any], root: str, calls: Mapping[str, StepCall]
) -> dict[str, Json]:
    """Execute the step ``config["key"]``; its last result is the outcome."""
    return execute_and_tell(calls[config["key"]], root, _report).to_json()


def _report(progress: Mapping[str, float]) -> None:
    """Report under one name, so that no value is one of those that mean something to Tune."""
    tune.report({"progress": dict(progress)})
