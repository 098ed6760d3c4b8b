"""Operations: what steps do, where their code is, and what everybody else needs to know of them.

The one table of kinds of steps. A step's identity holds the *name and revision* of its operation,
never a module: code can move without orphaning what was made. Whoever changes the results of an
operation raises its revision, so that older artifacts are not reused, and nobody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Operation:
    """What a step does.

    Attributes:
        name: Its name; part of the identity of its steps.
        function: Where it is, ``module:function``; called with a StepContext.
        kind: What it makes, the first part of keys: artifacts of one kind have the same files.
            It is the operation's name if not given.
        revision: Raised when the operation's results change; part of the identity.
        runs_as: ``trial`` (a Ray Tune trial) or ``task`` (a Ray task).
        resources: Entry of a sweep's ``resources`` that its steps hold; its kind if not given.
        sharded: Whether its work can be spread over ``class_shards`` processes.
        adds_images: Whether what it makes is a synthetic set; it then writes TensorBoard events.
        together: Where the function is that does several of its steps at once, ``module:function``;
            called with their StepContexts. None does if not given.
        differs: Names of the settings and inputs in which steps may differ that it does at once.
    """

    name: str
    function: str
    kind: str = ""
    revision: int = 1
    runs_as: Literal["trial", "task"] = "task"
    resources: str = ""
    sharded: bool = False
    adds_images: bool = False
    together: str = ""
    differs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Fill in what follows from the name."""
        object.__setattr__(self, "kind", self.kind or self.name)
        object.__setattr__(self, "resources", self.resources or self.kind)


DATA = Operation("data", "pdd_ray.data.step:run")
CLASSES = Operation("classes", "pdd_ray.data.step:run_classes", kind="data")
SCORES = Operation("scores", "pdd_ray.training.scores:run")
START = Operation(
    "start",
    "pdd_ray.training.experts:run_start",
    together="pdd_ray.training.experts:run_starts",
    differs=("seed", "chain", "start"),
)
EXPERT = Operation(
    "expert",
    "pdd_ray.training.experts:run_expert",
    together="pdd_ray.training.experts:run_experts",
    differs=("seed", "chain", "start"),
)
FEATURES = Operation("features", "pdd_ray.training.expert_features:run")
STAGE = Operation(
    "stage",
    "pdd_ray.methods.stage:run",
    revision=2,  # second derivatives of instance norm in closed form round in another way
    runs_as="trial",
    sharded=True,
    adds_images=True,
)
CORESET = Operation("coreset", "pdd_ray.methods.stage:run", resources="stage", adds_images=True)
EVALUATION = Operation(
    "evaluation",
    "pdd_ray.training.evaluation:run",
    together="pdd_ray.training.evaluation:run_several",
    differs=("seed", "network", "previous"),
)
FULL_EVALUATION = Operation(
    "full_evaluation",
    "pdd_ray.training.evaluation:run_full",
    kind="evaluation",
    together="pdd_ray.training.evaluation:run_full_several",
    differs=("seed", "network"),
)
CONTINUAL_EVALUATION = Operation(
    "continual_evaluation", "pdd_ray.training.continual:run", kind="evaluation"
)

OPERATIONS = (
    DATA,
    CLASSES,
    SCORES,
    START,
    EXPERT,
    FEATURES,
    STAGE,
    CORESET,
    EVALUATION,
    FULL_EVALUATION,
    CONTINUAL_EVALUATION,
)
"""All operations, in the order of the method; kinds are listed in it."""

KINDS = tuple(dict.fromkeys(operation.kind for operation in OPERATIONS))
"""Kinds of artifacts in the order of the method."""
IMAGE_KINDS = tuple(
    dict.fromkeys(operation.kind for operation in OPERATIONS if operation.adds_images)
)
"""Kinds of artifacts that are synthetic sets."""


def in_order(kinds: Iterable[str]) -> tuple[str, ...]:
    """Return ``kinds`` in the order of the method; those of no operation come last."""
    ranks = {kind: rank for rank, kind in enumerate(KINDS)}
    return tuple(sorted(kinds, key=lambda kind: (ranks.get(kind, len(ranks)), kind)))


def kind_of(key: str) -> str:
    """Return the kind of the artifact ``key``."""
    return key.rpartition("-")[0]
