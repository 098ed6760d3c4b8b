"""MethodSpec: any method that is built in or that an installed package adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, Union

from pydantic import Field, TypeAdapter

from pdd_ray.configuration.method import MethodTraits
from pdd_ray.core.extensions import configured_name, extensions

GROUP: Final = "pdd_ray.methods"
"""Entry points of methods."""


METHODS: Final = extensions(GROUP, MethodTraits, "pdd_ray.configuration.methods", configured_name)
"""The configuration of every method by name."""

if TYPE_CHECKING:
    MethodSpec: TypeAlias = MethodTraits
else:
    MethodSpec = Annotated[Union[tuple(METHODS.values())], Field(discriminator="name")]  # noqa: UP007

_ADAPTER: TypeAdapter[MethodTraits] = TypeAdapter(MethodSpec)


def read_method(values: Any) -> MethodTraits:  # noqa: ANN401 - JSON
    """Return the method whose configuration :meth:`FrozenModel.to_json` gave as ``values``."""
    return _ADAPTER.validate_python(values)
