"""The configurations of the methods that make a stage's images."""

from typing import Annotated

from pydantic import Field

from pdd_ray.configuration.methods.coresets import (
    ForgettingSelectionSpec,
    HerdingSpec,
    KCenterSpec,
    RandomSelectionSpec,
)
from pdd_ray.configuration.methods.distribution_matching import CafeDsaSpec, CafeSpec, DmSpec
from pdd_ray.configuration.methods.gradient_matching import DcSpec, DreamSpec, DsaSpec, IdcSpec
from pdd_ray.configuration.methods.trajectory_matching import TrajectoryMatchingSpec

MethodSpec = Annotated[
    TrajectoryMatchingSpec
    | DcSpec
    | DsaSpec
    | DmSpec
    | CafeSpec
    | CafeDsaSpec
    | IdcSpec
    | DreamSpec
    | RandomSelectionSpec
    | HerdingSpec
    | KCenterSpec
    | ForgettingSelectionSpec,
    Field(discriminator="name"),
]

__all__ = [
    "CafeDsaSpec",
    "CafeSpec",
    "DcSpec",
    "DmSpec",
    "DreamSpec",
    "DsaSpec",
    "ForgettingSelectionSpec",
    "HerdingSpec",
    "IdcSpec",
    "KCenterSpec",
    "MethodSpec",
    "RandomSelectionSpec",
    "TrajectoryMatchingSpec",
]
