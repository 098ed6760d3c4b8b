"""Several networks of one structure as one, by grouped convolutions: the launches are those of one.

Maps of the k networks lie side by side as channels, [N, k * C, H, W], which is what one convolution
with k groups, one batch norm of k * C channels, or one group norm of k times the groups takes.
Activations and poolings need no change.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, cast

import torch
import torch.nn.functional as F
from torch import nn

from pdd_ray.core.errors import PddError
from pdd_ray.models.layers import ACTIVATIONS, NORMS, POOLINGS
from pdd_ray.models.resnet import BasicBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

CONTAINERS: Final = (nn.Sequential, BasicBlock)
"""Modules that treat every channel alike, given that what they are made of does."""
UNCHANGED: Final = (
    *(type(make()) for make in (*ACTIVATIONS.values(), *POOLINGS.values())),
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Identity,
    nn.Flatten,
)
"""Modules that treat every channel alike, or all that is one after the other."""


class UngroupableError(PddError):
    """The networks hold a module for which no grouped form is known."""


class GroupedNetworks(nn.Module):
    """k networks of one structure, each on images of its own.

    The parameters hold those of all networks, [k, ...] each; those of the networks are views of
    them, so that the networks change when these do, without a copy. So do running statistics.

    Args:
        models: The networks, at least one, on one device; the last module of each is a classifier.

    Attributes:
        count: k.
        outputs: Number of classes.
        body: The networks as one, with the names of modules and parameters that each has.

    Raises:
        UngroupableError: if the networks hold a module that is not known here.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        _check_untied(models[0])
        self.count = len(models)
        self.outputs = cast("nn.Linear", list(models[0].children())[-1]).out_features
        self.body = cast("nn.Sequential", _grouped(models))
        self.train(models[0].training)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [k, N, classes] of ``images`` [k, N, C, H, W]."""
        networks, count, channels, *sides = images.shape
        side_by_side = images.transpose(0, 1).reshape(count, networks * channels, *sides)
        *features, classifier = self.body.children()
        for module in features:
            side_by_side = module(side_by_side)
        return cast("_Linear", classifier).apart(side_by_side)


class _Grouped(nn.Module):
    """A layer of k networks, whose parameters and statistics are stacked, [k, ...] each."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self.layer = [layers[0]]  # in a list, so that it is no module of this one
        self.count = len(layers)
        for name, first in layers[0].named_parameters(recurse=False):
            stacked = torch.stack([getattr(layer, name).detach() for layer in layers])
            self.register_parameter(name, nn.Parameter(stacked, first.requires_grad))
            for layer, part in zip(layers, stacked, strict=True):
                setattr(layer, name, nn.Parameter(part, first.requires_grad))
        for name, _ in layers[0].named_buffers(recurse=False):
            stacked = torch.stack([getattr(layer, name) for layer in layers])
            self.register_buffer(name, stacked)
            for layer, part in zip(layers, stacked, strict=True):
                setattr(layer, name, part)

    def _flat(self, name: str) -> Tensor | None:
        """Return the values of all networks one after the other."""
        value: Tensor | None = getattr(self, name, None)
        return None if value is None else value.flatten(0, 1)


class _Convolution(_Grouped):
    def forward(self, images: Tensor) -> Tensor:
        layer: nn.Conv2d = self.layer[0]
        return F.conv2d(
            images,
            self.weight.flatten(0, 1),
            self._flat("bias"),
            layer.stride,
            layer.padding,
            layer.dilation,
            self.count,
        )


class _Linear(_Grouped):
    def forward(self, features: Tensor) -> Tensor:
        """Return [N, k * outputs] of [N, k * inputs]."""
        return self.apart(features).transpose(0, 1).flatten(1)

    def apart(self, features: Tensor) -> Tensor:
        """Return [k, N, outputs] of [N, k * inputs]."""
        inputs = features.unflatten(1, (self.count, -1)).transpose(0, 1)
        weight = self.weight.transpose(1, 2)
        if self.bias is None:
            return torch.bmm(inputs, weight)
        return torch.baddbmm(self.bias[:, None], inputs, weight)


class _GroupNorm(_Grouped):
    def forward(self, images: Tensor) -> Tensor:
        layer: nn.GroupNorm = self.layer[0]
        groups = self.count * layer.num_groups
        return F.group_norm(images, groups, self._flat("weight"), self._flat("bias"), layer.eps)


class _BatchNorm(_Grouped):
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, images: Tensor) -> Tensor:
        layer: nn.BatchNorm2d = self.layer[0]
        if self.training:
            self.num_batches_tracked.add_(1)
        return F.batch_norm(
            images,
            self.running_mean.flatten(),
            self.running_var.flatten(),
            self._flat("weight"),
            self._flat("bias"),
            self.training,
            layer.momentum or 0.0,
            layer.eps,
        )


class _LayerNorm(_Grouped):
    def forward(self, images: Tensor) -> Tensor:
        layer: nn.LayerNorm = self.layer[0]
        apart = images.unflatten(1, (self.count, -1))
        normal = F.layer_norm(apart, layer.normalized_shape, eps=layer.eps)
        bias = self.weight.new_zeros(()) if self.bias is None else self.bias
        return torch.addcmul(bias, normal, self.weight).flatten(1, 2)


_FORMS: Final[dict[type[nn.Module], Callable[[Sequence[Any]], nn.Module]]] = {
    nn.Conv2d: _Convolution,
    nn.Linear: _Linear,
    nn.GroupNorm: _GroupNorm,
    type(NORMS["instance"](1, 1, 1)): _GroupNorm,
    nn.BatchNorm2d: _BatchNorm,
    nn.LayerNorm: _LayerNorm,
}


def _grouped(modules: Sequence[nn.Module]) -> nn.Module:
    """Return ``modules``, which are at the same place of k networks, as one module."""
    first = modules[0]
    if type(first) in _FORMS:
        _check(first)
        return _FORMS[type(first)](modules)
    if type(first) in CONTAINERS:
        whole = copy.copy(first)
        whole._modules = {
            name: _grouped([module.get_submodule(name) for module in modules])
            for name, _ in first.named_children()
        }
        return whole
    if type(first) in UNCHANGED:
        _check(first)
        return first
    msg = f"no grouped form is known of {type(first).__name__}"
    raise UngroupableError(msg)


def _check_untied(model: nn.Module) -> None:
    """Refuse layers that share a parameter: each would get its own."""
    if len(list(model.named_parameters(remove_duplicate=False))) > len(list(model.parameters())):
        msg = "no grouped form is known of layers that share parameters"
        raise UngroupableError(msg)


def _check(layer: nn.Module) -> None:
    """Refuse settings that no network of this package has."""
    known = True
    if isinstance(layer, nn.Conv2d):
        known = layer.groups == 1 and layer.padding_mode == "zeros"
    elif isinstance(layer, nn.BatchNorm2d):
        known = layer.track_running_stats and layer.affine and layer.momentum is not None
    elif isinstance(layer, nn.Flatten):
        known = (layer.start_dim, layer.end_dim) == (1, -1)
    elif isinstance(layer, nn.LayerNorm):
        known = layer.elementwise_affine and len(layer.normalized_shape) == 3
    if not known:
        msg = f"no grouped form is known of {layer}"
        raise UngroupableError(msg)
