"""DREAM, the distillation method: IDC's matching to real images chosen by clustering.

Specification of other methods, section 7.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pdd_ray.core.seeding import generator
from pdd_ray.core.transfers import moved
from pdd_ray.methods.coresets.representative import representative
from pdd_ray.methods.drawn_networks import drawn_network
from pdd_ray.methods.idc import IdcStage, first_images, mixed
from pdd_ray.methods.initial import class_members
from pdd_ray.methods.layer_features import Embedding
from pdd_ray.training.chunks import size_at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pdd_ray.configuration.methods.gradient_matching import DreamSpec
    from pdd_ray.methods.base import Observer, Partial, StageInputs, StageOutcome

CHUNK = 256
"""Images that are embedded at once."""


class Dream:
    """The method of one stage: IDC with representative real images."""

    def __init__(self, spec: DreamSpec) -> None:
        self.spec = spec

    def distill(self, inputs: StageInputs, partial: Partial, observer: Observer) -> StageOutcome:
        """Return the new images of stage ``inputs.stage``, pixels in [0, 1].

        See DistillationMethod.
        """
        batches = RepresentativeBatches(self.spec, inputs)
        if self.spec.initialisation == "mix":
            first = mixed(batches.first(), self.spec, inputs)
        else:
            first = first_images(self.spec, inputs)
        return IdcStage(self.spec, inputs, batches).distill(first, partial, observer)


class RepresentativeBatches:
    """The images nearest to the centres of a class's clusters under the current network.

    They are chosen anew every ``interval`` sweeps.
    """

    def __init__(self, spec: DreamSpec, inputs: StageInputs) -> None:
        dataset = inputs.dataset
        self._spec = spec
        self._inputs = inputs
        self._names = ("stage", inputs.stage, "clusters")
        self._members = class_members(dataset)
        self._embedding = Embedding(inputs.model, dataset.shape, inputs.device)
        self._chosen: Sequence[Tensor] = ()

    def positions(self, theta: Tensor, draw: int, sweep: int) -> Sequence[Tensor]:
        """Return the positions of the batch of each class; a small class gives all its images.

        An image can be nearest to several centres and is then there as often.
        """
        if sweep % self._spec.interval == 0:
            count, per_cluster = self._spec.real_batch_size, self._spec.per_cluster
            self._chosen = [
                members
                if len(members) <= count
                else self._representative(theta, label, count, per_cluster, draw, sweep)
                for label, members in enumerate(self._members)
            ]
        return self._chosen

    def first(self) -> Tensor:
        """Return the images that the stage starts from: prepared, class by class, [N, C, H, W].

        The representative ones under an untrained network. In the first stage it is the network
        of the first draw, as in the original code.
        """
        theta = drawn_network(replace(self._inputs, bank=()), 0)
        count = self._spec.real_images_per_class(self._inputs.images_per_class)
        chosen = [
            self._representative(theta, label, count, 1, "initialisation")
            for label in range(len(self._members))
        ]
        images = self._inputs.dataset.train_images
        return images[torch.cat(chosen).to(images.device)]

    @torch.no_grad()
    def features(self, theta: Tensor, members: Tensor) -> Tensor:
        """Return what the images are clustered by: [N, D].

        Args:
            theta: The network, [P].
            members: Positions in the train images, int64 [N].
        """
        dataset = self._inputs.dataset
        parts = []
        at_once = size_at_once(CHUNK, len(members))
        for positions in moved(members, dataset.train_images.device).split(at_once):
            images = dataset.train_images[positions]
            if self._spec.unnormalised_embedding:
                images = dataset.pixels.inverse(images)
            parts.append(self._embedding(theta, images))
        return torch.cat(parts)

    def _representative(
        self, theta: Tensor, label: int, count: int, per_cluster: int, *names: str | int
    ) -> Tensor:
        members = self._members[label]
        source = generator(self._inputs.seed, *self._names, *names, label)
        # k-means runs on the CPU: what it needs goes there at once
        features = self.features(theta, members).cpu()
        return members[representative(features, count, source, per_cluster)]
