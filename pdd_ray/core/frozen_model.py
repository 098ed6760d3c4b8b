"""FrozenModel: the base of every configuration value, and what of it belongs to an identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pdd_ray.core.identities import Json


class LeftOutAtDefault:
    """Marks a field that is left out of identities as long as it has its default."""


LEFT_OUT_AT_DEFAULT: Final = LeftOutAtDefault()
"""For a field that is added later: ``Annotated[bool, LEFT_OUT_AT_DEFAULT] = False``.

Keys of steps that do not use the new setting stay as they are, so the default has to mean what was
done before there was the field, for ever.
"""


class FrozenModel(BaseModel):
    """An immutable, typed value that rejects unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    def to_json(self) -> dict[str, Json]:
        """Return the value as plain JSON types, defaults included."""
        return cast("dict[str, Json]", self.model_dump(mode="json"))

    def identity(self) -> dict[str, Json]:
        """Return what identifies the value in the key of a step: all that may change a result.

        It is :meth:`to_json` without those fields marked :data:`LEFT_OUT_AT_DEFAULT` that have
        their default. Validating it gives the value again.
        """
        values = self.to_json()
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            marked = any(isinstance(mark, LeftOutAtDefault) for mark in field.metadata)
            if marked and value == field.get_default(call_default_factory=True):
                del values[name]
            elif isinstance(value, FrozenModel):
                values[name] = value.identity()
        return values
