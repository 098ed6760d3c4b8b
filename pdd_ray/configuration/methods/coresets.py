"""The configurations of coresets: real images, at random, by herding, k-center or forgetting."""

from typing import ClassVar, Literal

from pydantic import Field

from pdd_ray.configuration.method import MethodTraits, StageSize
from pdd_ray.configuration.passes import Pass
from pdd_ray.configuration.recipes import RecipeName


class CoresetSpec(MethodTraits):
    """What all coresets share: real train images of each class, in a single stage."""

    step_size: float = Field(default=0.01, gt=0)
    """Learning rate with which networks train on the images."""

    distills: ClassVar[bool] = False
    recipe: ClassVar[RecipeName] = "mtt"


class RandomCoresetSpec(CoresetSpec):
    """Random training images of each class."""

    name: Literal["random"] = "random"
    """The method."""

    code: ClassVar[str] = "pdd_ray.methods.coresets.coreset_methods:RandomCoreset"


class HerdingSpec(CoresetSpec):
    """Herding (Welling 2009): images whose mean feature follows that of the class."""

    name: Literal["herding"] = "herding"
    """The method."""

    code: ClassVar[str] = "pdd_ray.methods.coresets.coreset_methods:FeatureCoreset"
    needs_features: ClassVar[bool] = True

    def passes(self, size: StageSize) -> tuple[Pass, ...]:
        """Return the comparisons of features: of every image with every one that is selected."""
        return (Pass("selection", size.train * size.images_per_class),)


class KCenterSpec(CoresetSpec):
    """Greedy k-center: images farthest from those selected before (Sener and Savarese 2018)."""

    name: Literal["k_center"] = "k_center"
    """The method."""

    code: ClassVar[str] = "pdd_ray.methods.coresets.coreset_methods:FeatureCoreset"
    needs_features: ClassVar[bool] = True

    def passes(self, size: StageSize) -> tuple[Pass, ...]:
        """Return the comparisons of features: of every image with every one that is selected."""
        return (Pass("selection", size.train * size.images_per_class),)


class ForgettingCoresetSpec(CoresetSpec):
    """The images that are forgotten most often while training (Toneva et al. 2019)."""

    name: Literal["forgetting"] = "forgetting"
    """The method."""

    code: ClassVar[str] = "pdd_ray.methods.coresets.coreset_methods:ForgettingCoreset"
    needs_scores: ClassVar[bool] = True
