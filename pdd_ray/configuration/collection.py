"""The configuration of a collection: several sweeps that are run together."""

from pydantic import Field, field_validator

from pdd_ray.core.frozen_model import FrozenModel


class CollectionSpec(FrozenModel):
    """Several sweeps, run as one so that they share what they have in common."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the collection: lower case letters, digits, `-` and `_`."""
    description: str = ""
    """What the sweeps show together; printed above their plan."""
    sweeps: tuple[str, ...] = Field(min_length=1)
    """Files, presets or names of sweeps; paths are relative to the collection's file."""

    @field_validator("sweeps")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        repeated = [name for name in value if value.count(name) > 1]
        if repeated:
            msg = f"{repeated[0]!r} is listed twice"
            raise ValueError(msg)
        return value
