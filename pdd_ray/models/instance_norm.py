"""Instance normalisation with closed-form first and second derivatives.

For each image and channel: pixels x with mean ``m`` and ``r = (variance + eps)^-1/2``,
``z = (x - m) r``, ``y = w z + b``. With ``<.>`` the mean over the n pixels and the symmetric
projection ``P(t) = t - <t> - z <t z>`` the gradient is ``dx = r w P(dy)``, ``dw = sum dy z``,
``db = sum dy``. Its own derivative is again a sum of the tensors that it is made of, each times one
number per image and channel; autograd, which differentiates the parts of the gradient one by one,
takes ten times as many operations for it.
"""

# ruff: noqa: ANN401 - autograd gives its contexts no type

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import Tensor

    Triple = tuple[Tensor, Tensor, Tensor]

aten = torch.ops.aten


class InstanceNorm(nn.GroupNorm):
    """Normalises each channel of each image, with a scale and a shift per channel.

    It gives what ``nn.GroupNorm(channels, channels)`` gives, with the same names of parameters.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised ``images`` [N, C, H, W]."""
        if images.dtype != self.weight.dtype:  # mixed precision, of which torch knows the rules
            return super().forward(images)
        return instance_norm(images, self.weight, self.bias, self.eps)


def instance_norm(images: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Return the normalised ``images`` [N, C, H, W]; twice differentiable.

    Values and first derivatives are those of torch's own kernels, to the bit. Compiled code is made
    of torch's own function: its parts are fused anyway, and torch 2.14 gets the derivative of a
    Function's backward wrong where torch.func is compiled.

    Args:
        images: floating point.
        weight: scales [C], in the dtype of the images.
        bias: shifts [C], in the dtype of the images.
        eps: added to the variance.
    """
    normalised: Tensor
    if torch.compiler.is_compiling():
        normalised = F.group_norm(images, len(weight), weight, bias, eps)
    else:
        normalised, *_ = _InstanceNorm.apply(images, weight, bias, eps)
    return normalised


class _InstanceNorm(torch.autograd.Function):
    """The normalised images, and the mean and the inverse deviation of each image and channel."""

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Triple:
        result: Triple = aten.native_group_norm(
            images.contiguous(), weight, bias, *_sizes(images), len(weight), eps
        )
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Triple) -> None:
        images, weight, _, _ = inputs
        _, mean, scale = output
        ctx.mark_non_differentiable(mean, scale)
        ctx.set_materialize_grads(False)  # of mean and scale they would be zeros
        ctx.save_for_backward(images, mean, scale, weight)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if d_output is None:
            return (None, None, None, None)
        gradients = _Gradient.apply(d_output, *ctx.saved_tensors)
        return (*gradients, None)


class _Gradient(torch.autograd.Function):
    """The gradients of images, scales and shifts."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        d_output: Tensor, images: Tensor, mean: Tensor, scale: Tensor, weight: Tensor
    ) -> Triple:
        result: Triple = aten.native_group_norm_backward(
            d_output.contiguous(), images.contiguous(), mean, scale, weight,
            *_sizes(images), len(weight), [True, True, True],
        )  # fmt: skip
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Triple) -> None:
        del output
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, v_images: Tensor, v_weight: Tensor, v_bias: Tensor
    ) -> tuple[Tensor | None, ...]:
        d_output, images, mean, scale, weight = ctx.saved_tensors
        exact = torch.promote_types(images.dtype, torch.float32)
        v = (v_images, v_weight, v_bias)
        values = (value.to(exact) for value in (*v, d_output, images, weight))
        statistics = (value.to(exact)[:, :, None, None] for value in (mean, scale))
        derivatives = _second_derivative(*values, *statistics)
        d_d_output, d_images, d_weight = (value.to(images.dtype) for value in derivatives)
        return d_d_output, d_images, None, None, d_weight


def _second_derivative(
    v_images: Tensor,
    v_weight: Tensor,
    v_bias: Tensor,
    d_output: Tensor,
    images: Tensor,
    weight: Tensor,
    mean: Tensor,
    scale: Tensor,
) -> Triple:
    """Return the derivatives of ``v . (dx, dw, db)`` with respect to d_output, images and weight.

    With ``p = <dy z>``, ``q = <v z>``, ``Q = <v P(dy)> = <v dy> - <v> <dy> - p q`` and
    ``u = v_w dy - r w (p v + q dy)`` they are

    - by dy: ``r w P(v) + v_w z + v_b``;
    - by x: ``r P(u) - r^2 w Q z``, of which the last part comes from the deviation in dx;
    - by w: ``sum r n Q``.

    Args:
        v_images: v, [N, C, H, W].
        v_weight: v_w, [C].
        v_bias: v_b, [C].
        d_output: dy, [N, C, H, W].
        images: x, [N, C, H, W].
        weight: w, [C].
        mean: m, [N, C, 1, 1].
        scale: r, [N, C, 1, 1].
    """
    w, v_w, v_b = (value[:, None, None] for value in (weight, v_weight, v_bias))
    mean_d, mean_v = _mean(d_output), _mean(v_images)
    p = (_mean(d_output * images) - mean_d * mean) * scale
    q = (_mean(v_images * images) - mean_v * mean) * scale
    between = _mean(v_images * d_output) - mean_v * mean_d - p * q
    factor = scale * w

    by_images = scale * (v_w - factor * q)  # of images in the first, of d_output in the second
    constant = v_b - factor * mean_v - by_images * mean
    d_d_output = torch.addcmul(constant, v_images, factor).addcmul(images, by_images)

    mean_u = v_w * mean_d - factor * (p * mean_v + q * mean_d)
    along_z = v_w * p - 2 * factor * p * q
    by_x = -(scale.square()) * (along_z + factor * between)
    constant = -scale * mean_u - by_x * mean
    d_images = torch.addcmul(constant, v_images, -factor * scale * p)
    d_images = d_images.addcmul(d_output, by_images).addcmul(images, by_x)
    pixels = images.shape[2] * images.shape[3]
    return d_d_output, d_images, _over_images(between * scale * pixels)


def _mean(value: Tensor) -> Tensor:
    """Return the mean over the pixels of ``value`` [N, C, H, W], [N, C, 1, 1]."""
    return value.mean((2, 3), keepdim=True)


def _over_images(value: Tensor) -> Tensor:
    """Return the sum over the images of ``value`` [N, C, 1, 1], [C]."""
    return value.sum((0, 2, 3))


def _sizes(images: Tensor) -> tuple[int, int, int]:
    """Return N, C, and the number of pixels."""
    count, channels, height, width = images.shape
    return count, channels, height * width
