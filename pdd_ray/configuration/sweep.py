"""The configuration of a sweep: variants x grid x seeds, and what its tables show."""

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from pdd_ray.configuration.experiment import ExperimentSpec, ResourcesSpec
from pdd_ray.core.frozen_model import FrozenModel
from pdd_ray.core.misplaced import MisplacedError

GROUPED = ("start", "expert", "evaluation")
"""Kinds of steps of which several can be computed at once."""


class ChoiceSpec(FrozenModel):
    """A setting that is chosen per group of results by validation accuracy."""

    over: tuple[str, ...] = Field(min_length=1)
    """Grid axes whose best value is kept, e.g. [method.max_start_epoch]."""


class TableSpec(FrozenModel):
    """What `pdd-ray table` shows for the sweep."""

    rows: tuple[str, ...] = ("variant", "stages", "images_per_class")
    """Record fields (or grid axes) that make the rows."""
    columns: tuple[str, ...] = ("mode",)
    """Record fields (or grid axes) that make the columns."""
    baseline: str | None = None
    """Variant against which paired differences by seed are given."""
    choose: ChoiceSpec | None = None
    """Keep, in every row, the axis values with the best mean validation accuracy."""


class SweepSpec(ExperimentSpec):
    """A sweep file. The experiment's keys are the base that variants and grid change."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the sweep: lower case letters, digits, `-` and `_`."""
    description: str = ""
    """What the sweep shows; printed above its plan."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """Seeds of experts, distillation and evaluation."""
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Named changes of the base; each is crossed with the grid. Dotted keys are allowed. The key
    `grid` is reserved: it is no key of an experiment, but the variant's own axes, which replace
    the sweep's grid for this variant; `grid: {}` crosses it with nothing but the seeds."""
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Axes over any key: {method.max_start_epoch: [4, 10]}; all combinations are run."""
    resources: ResourcesSpec = ResourcesSpec()
    """What steps hold while they run."""
    table: TableSpec = TableSpec()
    """What the table shows."""
    paper: str | None = None
    """Table of the paper that the sweep reproduces, e.g. `Table 4`: its layout, and its numbers
    beside ours where the settings are the same."""
    reference: str | None = None
    """Preset whose variants of the same names have the paper's settings, e.g. paper/table4; tables
    say how the sweep's own differ."""

    @model_validator(mode="after")
    def _classes_can_be_sharded(self) -> Self:
        shards = self.resources.class_shards
        if shards > 1 and self.model.has_batch_norm:
            msg = f"norm 'batch' ties the classes together: no {shards} class_shards"
            raise MisplacedError(msg, "resources", "class_shards")
        return self

    @model_validator(mode="after")
    def _networks_can_be_grouped(self) -> Self:
        for kind, entry in self.resources.entries():
            if entry.group in ("auto", 1):
                continue
            problem = ""
            if kind not in GROUPED:
                problem = (
                    f"steps of this kind are done one by one, only {', '.join(GROUPED)} at once"
                )
            elif not entry.gpus or self.resources.device == "cpu":
                problem = "on a CPU networks are trained one by one, for their bytes are promised"
            elif self.deterministic:
                problem = "with `deterministic` networks are trained one by one"
            if problem:
                raise MisplacedError(f"{problem}: no {entry.group}", "resources", kind, "group")
        return self

    @field_validator("seeds", "grid")
    @classmethod
    def _no_repeats(cls, value: Any) -> Any:  # noqa: ANN401 - two field types
        lists = {"seeds": value} if isinstance(value, tuple) else value
        for name, values in lists.items():
            if not values:
                msg = f"axis {name} has no values"
                raise ValueError(msg)
            if any(values.count(item) > 1 for item in values):
                msg = f"axis {name} repeats a value: {list(values)}"
                raise ValueError(msg)
        return value
