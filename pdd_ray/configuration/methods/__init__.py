"""The configurations of the methods that make a stage's images."""

from typing import Annotated

from pydantic import Field

from pdd_ray.configuration.methods.coresets import (
    ForgettingCoresetSpec,
    HerdingSpec,
    KCenterSpec,
    RandomCoresetSpec,
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
    | RandomCoresetSpec
    | HerdingSpec
    | KCenterSpec
    | ForgettingCoresetSpec,
    Field(discriminator="name"),
]

__all__ = [
    "CafeDsaSpec",
    "CafeSpec",
    "DcSpec",
    "DmSpec",
    "DreamSpec",
    "DsaSpec",
    "ForgettingCoresetSpec",
    "HerdingSpec",
    "IdcSpec",
    "KCenterSpec",
    "MethodSpec",
    "RandomCoresetSpec",
    "TrajectoryMatchingSpec",
]
