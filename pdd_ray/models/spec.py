"""NetworkSpec: what every network is to planning, training and tables."""

from __future__ import annotations

from abc import abstractmethod
from pkgutil import resolve_name
from typing import TYPE_CHECKING, ClassVar

from pdd_ray.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pdd_ray.models.plan import NetworkPlan, Shape


class NetworkSpec(FrozenModel):
    """The configuration of a network; its fields are its keys in a sweep file.

    A network has a field ``name`` with one allowed value, by which sweeps call it. What needs torch
    imports it inside :meth:`build`, or is the module of :attr:`code`, because plans are made
    without.
    """

    if TYPE_CHECKING:
        name: str

    code: ClassVar[str] = ""
    """The function that builds the network, ``module:function``, for one with layers of its own."""

    @property
    def label(self) -> str:
        """Short name for tables and folders; different for networks that differ."""
        return self.name

    @property
    def has_batch_norm(self) -> bool:
        """Whether what the network says of an image depends on the others of its batch."""
        return getattr(self, "norm", "none") == "batch"

    @abstractmethod
    def plan(self, shape: Shape) -> NetworkPlan:
        """Return the layers for images of ``shape``, (channels, height, width).

        Raises:
            ConfigError: the network cannot process images of this size.
        """

    def build(self, shape: Shape, num_classes: int) -> nn.Sequential:
        """Return the network for images of ``shape``; its parameters need no values yet.

        The last module is the linear classifier, ``self.plan(shape).features`` inputs wide. No
        module works in place: methods differentiate twice. Calls the function of :attr:`code` with
        this configuration, the shape and the number of classes.
        """
        network: nn.Sequential = resolve_name(self.code)(self, shape, num_classes)
        return network

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """Give ``model`` its first values, drawn from ``generator`` only, in place."""
        from pdd_ray.models.initialise import initialise

        initialise(model, generator)
