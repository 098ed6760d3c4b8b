"""Phases of classes in class-incremental continual learning, known without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdd_ray.configuration.continual import ContinualSpec
    from pdd_ray.core.identities import Json
    from pdd_ray.data.facts import DataFacts


def class_phases(count: int, spec: ContinualSpec, seed: int) -> list[list[int]]:
    """Return the classes of each phase, as labels of the whole data set of ``count`` classes.

    ``permuted`` is numpy's legacy permutation with the run's seed, as the original codes draw it
    (specification of other methods, section 10).

    Raises:
        ConfigError: if the classes do not divide into the phases.
    """
    if count % spec.phases:
        msg = (
            f"{count} classes do not divide into {spec.phases} phases of the same size; "
            f"continual.phases can be {', '.join(map(str, divisors(count)))}"
        )
        raise ConfigError(msg)
    order = list(range(count))
    if spec.order != "as_is":
        from numpy.random import RandomState

        order = [int(label) for label in RandomState(seed).permutation(count)]
    size = count // spec.phases
    phases = [order[start : start + size] for start in range(0, count, size)]
    return [sorted(phase) for phase in phases] if spec.order == "sorted" else phases


def divisors(count: int) -> list[int]:
    """Return the numbers of phases, at least two, into which ``count`` classes divide."""
    return [number for number in range(2, count + 1) if count % number == 0]


def phase_facts(facts: DataFacts, classes: Sequence[int]) -> DataFacts:
    """Return the facts of the part of a data set that has the given classes only."""
    return replace(
        facts,
        classes=tuple(facts.classes[label] for label in classes),
        train_counts=tuple(facts.train_counts[label] for label in classes),
        test_counts=tuple(facts.test_counts[label] for label in classes),
    )


def phase_step_config(classes: Sequence[int]) -> dict[str, Json]:
    """Return the configuration of the step that takes these classes out of a data set."""
    return {"classes": list(classes)}
