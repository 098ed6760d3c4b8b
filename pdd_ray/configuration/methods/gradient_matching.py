"""The configurations of gradient matching: DC, DSA, IDC and DREAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from pdd_ray.configuration.method import (
    TEST_BATCH,
    BankedSpec,
    PixelDomain,
    StageSize,
    problem_without_blocks,
)
from pdd_ray.configuration.passes import Pass, Unit, forward_passes, training_passes
from pdd_ray.configuration.recipes import RecipeName
from pdd_ray.configuration.training import FULL_DSA, check_strategy_field

if TYPE_CHECKING:
    from pdd_ray.models.spec import NetworkSpec

STATISTICS_IMAGES = 16
"""Real images per class from which batch norm gets its statistics in DC."""


class DcSpec(BankedSpec):
    """DC (Zhao et al. 2021) as one stage of PDD (specification of other methods, section 1)."""

    name: Literal["dc"] = "dc"
    """The method."""
    iterations: int = Field(default=1000, ge=1)
    """Networks drawn. The original code draws one more."""
    outer_loop: int | None = Field(default=None, ge=1)
    """Image updates per network; by images per class (1: 1, 10: 10, ..., 50: 50) if not given."""
    inner_loop: int | None = Field(default=None, ge=0)
    """Epochs that the network trains on the images between two updates; by images per class (10:
    50, 20: 25, ..., 50: 10) if not given."""
    real_batch_size: int = Field(default=256, ge=1)
    """Real images per class and update."""
    image_learning_rate: float = Field(default=0.1, gt=0)
    """SGD learning rate of the pixels (`lr_img`)."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """Momentum of the pixels' optimiser."""
    network_learning_rate: float = Field(default=0.01, gt=0)
    """SGD learning rate of the network between updates (`lr_net`); it has no momentum."""
    network_batch_size: int = Field(default=256, ge=1)
    """Images per step of the network (`batch_train`)."""
    distance: Literal["layerwise", "mse", "cosine"] = "layerwise"
    """Distance of gradients: summed over layers and outputs one minus the cosine; squared
    differences of all; one minus the cosine of all together."""
    initialisation: Literal["noise", "real"] = "noise"
    """First images: standard normal noise, or random training images of each class."""
    augmentation: str = "none"
    """DSA operations joined by `_`: one is drawn per class and update, with the same numbers for
    real and synthetic images, and one per step of the network; or `none`."""
    batch_norm_statistics: Literal["batch", "one_momentum_step"] = "batch"
    """With norm `batch`: statistics that both gradients use. `batch`: those of 16 real images per
    class; `one_momentum_step`: running statistics after one pass over these, as the original code
    has them (specification of other methods, section 15)."""

    code: ClassVar[str] = "pdd_ray.methods.dc:Dc"
    recipe: ClassVar[RecipeName] = "dc"
    class_sharded: ClassVar[bool] = True
    _strategy = check_strategy_field("dsa")

    def loops(self, images_per_class: int) -> tuple[int, int]:
        """Return image updates per network and epochs of the network between two of them.

        The original table for 1, 10, 20, .. 50 images per class, interpolated by its own rule
        outer = n, inner = round(500 / n) between them (specification of other methods, section
        1.2), with 2 epochs at 100 and more.
        """
        outer = images_per_class
        inner = 1 if images_per_class == 1 else max(2, round(500 / max(images_per_class, 10)))
        return self.outer_loop or outer, inner if self.inner_loop is None else self.inner_loop

    def passes(self, size: StageSize) -> tuple[Pass, ...]:
        """Return the passes of the image updates and of training the network between them."""
        new, frozen = self.new_and_frozen(size)
        outer, inner = self.loops(size.images_per_class)
        updates = self.iterations * outer
        classes = updates * size.classes
        found = [
            Pass("network", 0.0, self.iterations),
            Pass("dc_gradient", self.real_batch_size, classes),
            Pass("dc_distance", new, classes),
        ]
        if frozen:
            found.append(Pass("dc_gradient", frozen, classes))
        if size.batch_norm:
            found.append(Pass("test_batch", STATISTICS_IMAGES * size.classes, updates))
        if self.augmentation != "none":
            found.append(Pass("dsa_class", self.real_batch_size + new + frozen, classes))
        images = (new + frozen) * size.classes
        epochs = self.iterations * (outer - 1) * inner
        training = training_passes(images, self.network_batch_size, epochs, self.augmentation)
        return (*found, *(training if epochs else ()))

    def derivatives(self, size: StageSize) -> float:
        """Return the gradients of real images and the distances' derivatives of all updates."""
        outer, _ = self.loops(size.images_per_class)
        return 2.0 * self.iterations * outer * size.classes


class DsaSpec(DcSpec):
    """DSA (Zhao and Bilen 2021): DC with siamese augmentation, from real images."""

    name: Literal["dsa"] = "dsa"  # type: ignore[assignment]
    """The method."""
    initialisation: Literal["noise", "real"] = "real"
    """First images: random training images of each class, or standard normal noise."""
    augmentation: str = FULL_DSA
    """DSA operations joined by `_`: one is drawn per class and update, with the same numbers for
    real and synthetic images, and one per step of the network; or `none`."""

    recipe: ClassVar[RecipeName] = "dsa"


class IdcSpec(BankedSpec):
    """IDC (Kim et al. 2022) as one stage of PDD (specification of other methods, sections 3, 4)."""

    name: Literal["idc"] = "idc"
    """The method."""
    iterations: int = Field(default=2000, ge=1)
    """Networks drawn."""
    inner_loop: int = Field(default=100, ge=1)
    """Sweeps over the classes per network, each followed by training it on real images."""
    factor: int = Field(default=2, ge=1)
    """Multi-formation f: a stored image is decoded to f * f images; 1 is IDC-I."""
    real_batch_size: int = Field(default=64, ge=1)
    """Real images per class and update."""
    synthetic_batch_size: int = Field(default=128, ge=1)
    """Most decoded images of a class per update, drawn without replacement
    (`batch_syn_max`)."""
    always_new: bool = False
    """Draw the new images first when there are more decoded images than the batch takes: in later
    stages the original rule leaves fewer and fewer of them (specification of other methods,
    section 4.4)."""
    match: Literal["gradient", "features"] = "gradient"
    """What is matched: gradients of the convolutions' kernels, or mean outputs of the last block
    (ConvNets only)."""
    metric: Literal["mse", "l1", "l1_mean", "cos"] = "mse"
    """Distance of gradients, summed over kernels: squared differences, absolute differences,
    their means per output, one minus the cosine per output. CIFAR: mse; MNIST and ImageNet: l1."""
    image_learning_rate: float = Field(default=0.005, gt=0)
    """SGD learning rate of the pixels at 10 images per class and 32x32 pixels."""
    scale_learning_rate: bool = True
    """Multiply it by images_per_class / 10 and (side / 32)^2, as the original code does."""
    union_learning_rate: bool = False
    """Multiply it by the number of the stage: the mean over the union divides the gradient of each
    image by it."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """Momentum of the pixels' optimiser."""
    coasting: bool = False
    """Move the images of all classes by their momentum at the step of every single class, as the
    original code does by accident (specification of other methods, section 3.5): steps are about
    twice as long and have no momentum between sweeps."""
    augmentation: str = "color_crop_cutout"
    """Operations of matching, joined by `_`, all applied, with the same numbers for real and
    synthetic images (IDC's rule); or `none`."""
    network_augmentation: str = "color_crop"
    """Operations of the network's training on real images (IDC's rule), per image."""
    network_learning_rate: float = Field(default=0.01, gt=0)
    """SGD learning rate of the network on real images; momentum 0.9, weight decay 5e-4."""
    network_momentum: float = Field(default=0.9, ge=0, lt=1)
    """Its momentum."""
    network_weight_decay: float = Field(default=5e-4, ge=0)
    """Its weight decay."""
    network_batch_size: int = Field(default=64, ge=1)
    """Real images per step of the network."""
    network_images: int = Field(default=2000, ge=0)
    """Real images that the network trains on after each sweep over the classes, rounded up to
    whole batches (`n_data`)."""
    cutmix: float = Field(default=0.5, ge=0, le=1)
    """Probability of CutMix per step of the network."""
    early_epochs: int = Field(default=0, ge=0)
    """Epochs on real images before a fresh network is used (`early`); ImageNet: 10."""
    initialisation: Literal["mix", "noise"] = "mix"
    """First images: random real images tiled f by f, or noise around gray."""

    code: ClassVar[str] = "pdd_ray.methods.idc:Idc"
    recipe: ClassVar[RecipeName] = "idc"
    class_sharded: ClassVar[bool] = True
    pixel_domain: ClassVar[PixelDomain] = "unit"
    _strategy = check_strategy_field("idc", "augmentation", "network_augmentation")

    @property
    def multi_formation(self) -> int:  # type: ignore[override]
        """Multi-formation: a stored image stands for multi_formation^2 images."""
        return self.factor

    def problem_with(self, model: NetworkSpec) -> str | None:
        """Return why features of ``model`` can't be matched."""
        return None if self.match == "gradient" else problem_without_blocks(self.name, model)

    def passes(self, size: StageSize) -> tuple[Pass, ...]:
        """Return the passes of the sweeps over the classes and of training on real images."""
        new, frozen = self._subsampled(*self.new_and_frozen(size))
        sweeps = self.iterations * self.inner_loop
        classes = sweeps * size.classes
        real: Unit = "idc_gradient" if self.match == "gradient" else "dm_embedding"
        gradient: Unit = "idc_distance" if self.match == "gradient" else "dm_gradient"
        found = [
            Pass("network", 0.0, self.iterations),
            Pass(real, self.real_batch_size, classes),
            Pass(gradient, new, classes),
        ]
        if frozen:
            found.append(Pass(real, frozen, classes))
        if self.augmentation != "none":
            found.append(Pass("idc_class", self.real_batch_size + new + frozen, classes))
        steps = -(-self.network_images // self.network_batch_size)
        trained = self.iterations * (self.inner_loop - 1)
        found += self._training(steps * self.network_batch_size, trained) if steps else ()
        if self.early_epochs:
            found += self._training(size.train, self.early_epochs * self.iterations)
        return tuple(found)

    def _training(self, images: float, epochs: int) -> tuple[Pass, ...]:
        """Return the passes of training a network on real images."""
        return training_passes(
            images,
            self.network_batch_size,
            epochs,
            self.network_augmentation,
            rule="idc",
            cutmix=self.cutmix,
        )

    def _subsampled(self, new: float, frozen: float) -> tuple[float, float]:
        """Return how many new and frozen images of a class are matched at once."""
        limit = self.synthetic_batch_size
        if new + frozen <= limit:
            return new, frozen
        kept = min(new, limit) if self.always_new else limit * new / (new + frozen)
        return kept, limit - kept

    def derivatives(self, size: StageSize) -> float:
        """Return the gradients of real images and the distances' derivatives of all sweeps."""
        return 2.0 * self.iterations * self.inner_loop * size.classes

    def image_rate(self, images_per_class: int, size: int, stage: int) -> float:
        """Return the learning rate of the pixels in ``stage``; ``size`` is the images' side."""
        rate = self.image_learning_rate
        if self.scale_learning_rate:
            rate *= images_per_class / 10 * (size / 32) ** 2
        return rate * stage if self.union_learning_rate else rate


class DreamSpec(IdcSpec):
    """DREAM (Liu et al. 2023): IDC with representative real batches from k-means."""

    name: Literal["dream"] = "dream"  # type: ignore[assignment]
    """The method."""
    real_batch_size: int = Field(default=128, ge=1)
    """Real images per class and update: those nearest to the centres of the class's clusters."""
    interval: int = Field(default=10, ge=1)
    """Sweeps over the classes between two clusterings under the current network."""
    per_cluster: int = Field(default=1, ge=1)
    """Images nearest to each centre; real_batch_size / per_cluster clusters are made."""
    unnormalised_embedding: bool = False
    """Cluster embeddings of pixels in [0, 1], as the original code does, although the network is
    trained on prepared images."""
    initialisation: Literal["mix", "noise"] = "mix"
    """First images: representative real images of each class under an untrained network, tiled f
    by f; or noise around gray."""

    code: ClassVar[str] = "pdd_ray.methods.dream:Dream"

    def passes(self, size: StageSize) -> tuple[Pass, ...]:
        """Return the passes of IDC, and those of clustering the real images of every class."""
        times = self.iterations * (-(-self.inner_loop // self.interval)) * size.classes
        members = size.train / size.classes
        clustering = Pass("clustering", members * self.clusters, times)
        return (*super().passes(size), *forward_passes(members, TEST_BATCH, times), clustering)

    @property
    def clusters(self) -> int:  # type: ignore[override]
        """Clusters that are made of each class."""
        return self.real_batch_size // self.per_cluster

    @model_validator(mode="after")
    def _clusters_are_whole(self) -> DreamSpec:
        if self.real_batch_size % self.per_cluster:
            msg = (
                f"real_batch_size {self.real_batch_size} is no multiple of per_cluster "
                f"{self.per_cluster}"
            )
            raise ValueError(msg)
        return self
