"""ModelSpec: any network that is built in or that an installed package adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, Union

from pydantic import Field, TypeAdapter

from pdd_ray.core.extensions import configured_name, extensions
from pdd_ray.models.spec import NetworkSpec

GROUP: Final = "pdd_ray.models"
"""Entry points of networks."""


NETWORKS: Final = extensions(
    GROUP,
    NetworkSpec,  # type: ignore[type-abstract] # only its subclasses are made
    "pdd_ray.models.networks",
    configured_name,
)
"""The configuration of every network by name."""

if TYPE_CHECKING:
    ModelSpec: TypeAlias = NetworkSpec
else:
    ModelSpec = Annotated[Union[tuple(NETWORKS.values())], Field(discriminator="name")]  # noqa: UP007

_ADAPTER: TypeAdapter[NetworkSpec] = TypeAdapter(ModelSpec)


def read_network(values: Any) -> NetworkSpec:  # noqa: ANN401 - JSON
    """Return the network whose configuration :meth:`FrozenModel.to_json` gave as ``values``."""
    return _ADAPTER.validate_python(values)
