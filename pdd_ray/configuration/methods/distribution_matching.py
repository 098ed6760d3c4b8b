"""The configurations of matching features: DM and CAFE."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field

from pdd_ray.configuration.method import BankedSpec, StageSize, problem_without_blocks
from pdd_ray.configuration.passes import Pass, training_passes
from pdd_ray.configuration.recipes import RecipeName
from pdd_ray.configuration.training import FULL_DSA, check_strategy_field

if TYPE_CHECKING:
    from pdd_ray.models.spec import NetworkSpec

UPDATES_PER_NETWORK: Final = 12.0
"""Image updates that a network of CAFE is used for, about; its accuracies decide."""
EPOCHS_PER_UPDATE: Final = 11.0
"""Epochs of the network after each of them, about; its accuracies decide."""


class DmSpec(BankedSpec):
    """DM (Zhao and Bilen 2023) as one stage of PDD (specification of other methods, section 2)."""

    name: Literal["dm"] = "dm"
    """The method."""
    iterations: int = Field(default=20000, ge=1)
    """Networks drawn, with one image update each."""
    real_batch_size: int = Field(default=256, ge=1)
    """Real images per class and update."""
    image_learning_rate: float = Field(default=1.0, gt=0)
    """SGD learning rate of the pixels (`lr_img`); 10 from 100 images per class on."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """Momentum of the pixels' optimiser."""
    initialisation: Literal["real", "noise"] = "real"
    """First images: random training images of each class, or standard normal noise."""
    augmentation: str = FULL_DSA
    """DSA operations joined by `_`, of which one is drawn per class and update, with the same
    numbers for real and synthetic images; or `none`."""

    code: ClassVar[str] = "pdd_ray.methods.dm:Dm"
    recipe: ClassVar[RecipeName] = "dsa"
    class_sharded: ClassVar[bool] = True
    _strategy = check_strategy_field("dsa")

    def passes(self, size: StageSize) -> tuple[Pass, ...]:
        """Return the passes of one image update per network."""
        new, frozen = self.new_and_frozen(size)
        classes = self.iterations * size.classes
        found = [
            Pass("network", 0.0, self.iterations),
            Pass("dm_embedding", self.real_batch_size, classes),
            Pass("dm_gradient", new, classes),
        ]
        if frozen:
            found.append(Pass("dm_embedding", frozen, classes))
        if self.augmentation != "none":
            found.append(Pass("dsa_class", self.real_batch_size + new + frozen, classes))
        return tuple(found)

    def derivatives(self, size: StageSize) -> float:
        """Return the embeddings of real images and the distances' derivatives of all updates."""
        return 2.0 * self.iterations * size.classes


class CafeSpec(BankedSpec):
    """CAFE (Wang et al. 2022) as one stage of PDD (specification of other methods, section 6)."""

    name: Literal["cafe"] = "cafe"
    """The method."""
    iterations: int = Field(default=2000, ge=1)
    """Networks drawn; the pixels' learning rate is halved at 60, 80 and 90 per cent of them."""
    real_batch_size: int = Field(default=256, ge=1)
    """Real images per class and update."""
    image_learning_rate: float = Field(default=0.1, gt=0)
    """First SGD learning rate of the pixels (`lr_img`)."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """Momentum of the pixels' optimiser."""
    network_learning_rate: float = Field(default=0.01, gt=0)
    """SGD learning rate of the network on the images (`lr_net`)."""
    network_batch_size: int = Field(default=256, ge=1)
    """Images per step of the network."""
    early_weight: float = Field(default=0.1, ge=0)
    """Weight of the feature distances of the blocks before the last one."""
    late_weight: float = Field(default=1.0, ge=0)
    """Weight of the feature distances of the last block and after its pooling."""
    discrimination_weight: float = Field(default=0.01, ge=0)
    """Weight of classifying real images by the means of the synthetic features."""
    scale_distances: bool = True
    """Divide feature distances by the growth of the maps against 32x32 images, to which the
    weights are tied (specification of other methods, section 13)."""
    query_images: int = Field(default=128, ge=1)
    """Real images per class whose accuracy decides about the loops."""
    window: int = Field(default=10, ge=2)
    """Last accuracies that are looked at."""
    settled_below: float = Field(default=0.04, ge=0)
    """lambda_1: a new network is drawn when the accuracies of the window vary less than this after
    image updates."""
    moved_above: float = Field(default=0.03, ge=0)
    """lambda_2: the network has trained enough when the accuracies of the window vary more than
    this."""
    max_updates: int = Field(default=50, ge=1)
    """Most image updates per network; the original loops have no bound."""
    max_network_epochs: int = Field(default=50, ge=1)
    """Most epochs of the network after an image update."""
    initialisation: Literal["noise", "real"] = "noise"
    """First images: standard normal noise, or random training images of each class."""
    augmentation: str = "none"
    """DSA operations joined by `_`, of which one is drawn per class and update, with the same
    numbers for real and synthetic images; or `none`."""

    code: ClassVar[str] = "pdd_ray.methods.cafe:Cafe"
    recipe: ClassVar[RecipeName] = "cafe"
    _strategy = check_strategy_field("dsa")

    def problem_with(self, model: NetworkSpec) -> str | None:
        """Return why features of ``model`` can't be matched."""
        return problem_without_blocks(self.name, model)

    def passes(self, size: StageSize) -> tuple[Pass, ...]:
        """Return the passes of the image updates, each with some epochs of the network."""
        new, frozen = self.new_and_frozen(size)
        updates = self.iterations * min(UPDATES_PER_NETWORK, self.max_updates)
        epochs = min(EPOCHS_PER_UPDATE, self.max_network_epochs)
        trained = (updates - self.iterations) * epochs  # not after a network's last update
        classes = updates * size.classes
        found = [
            Pass("network", 0.0, self.iterations),
            Pass("cafe_features", self.real_batch_size, classes),
            Pass("cafe_features", new, classes),
            Pass("cafe_gradient", new, classes),
            Pass("test_batch", self.query_images, classes + trained * size.classes),
        ]
        if frozen:
            found.append(Pass("cafe_features", frozen, classes))
        if self.augmentation != "none":
            found.append(Pass("dsa_class", self.real_batch_size + 2 * new + frozen, classes))
        images = (new + frozen) * size.classes
        training = (images, self.network_batch_size, trained, self.augmentation)
        return (*found, *training_passes(*training))

    def derivatives(self, size: StageSize) -> float:
        """Return the features of real images and the loss's derivatives of all updates."""
        return 2.0 * self.iterations * UPDATES_PER_NETWORK * size.classes


class CafeDsaSpec(CafeSpec):
    """CAFE with siamese augmentation."""

    name: Literal["cafe_dsa"] = "cafe_dsa"  # type: ignore[assignment]
    """The method."""
    augmentation: str = FULL_DSA
    """DSA operations joined by `_`, of which one is drawn per class and update, with the same
    numbers for real and synthetic images; or `none`."""

    recipe: ClassVar[RecipeName] = "dsa"
