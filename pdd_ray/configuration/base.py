"""The base of every configuration value."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pdd_ray.core.identities import Json


class FrozenModel(BaseModel):
    """An immutable, typed value that rejects unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    def to_json(self) -> dict[str, Json]:
        """Return the value as plain JSON types, defaults included."""
        return cast("dict[str, Json]", self.model_dump(mode="json"))
