"""Instance normalisation: closed-form derivatives against plain autograd."""

# ruff: noqa: ANN401 - operators take and give anything

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from pdd_ray.core.seeding import generator
from pdd_ray.methods.trajectory_loss import InnerFunctions
from pdd_ray.models.factory import create_model
from pdd_ray.models.flat import FlatModel
from pdd_ray.models.instance_norm import InstanceNorm, instance_norm
from pdd_ray.models.networks.convnet import ConvNetSpec
from pdd_ray.testing.fake_device import DEVICE, fake_device

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Norm = Callable[[Tensor, Tensor, Tensor], Tensor]

CHANNELS = 4


def plain(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise with torch's own group norm."""
    return F.group_norm(images, len(weight), weight, bias)


def problem(dtype: torch.dtype = torch.float64, side: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    images = 2 * torch.randn(3, CHANNELS, side, side + 1, generator=source, dtype=dtype) + 1
    weight, bias = torch.randn(2, CHANNELS, generator=source, dtype=dtype)
    return images, weight, bias


def leaves(values: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    return [value.detach().clone().requires_grad_(True) for value in values]


def waves(value: Tensor, start: float) -> Tensor:
    count = torch.arange(value.numel(), dtype=value.dtype, device=value.device)
    return torch.cos(start + count).view_as(value)


def everything(norm: Norm, values: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    """Return output, gradients, and derivatives of a combination of all gradients."""
    inputs = leaves(values)
    output = norm(*inputs)
    loss = (output * waves(output, 0.5)).pow(3).sum()
    first = torch.autograd.grad(loss, inputs, create_graph=True)
    combined = torch.stack([(value * waves(value, 2.0)).sum() for value in first]).sum()
    second = torch.autograd.grad(combined, inputs)
    return [value.detach() for value in (output, *first, *second)]


def test_outputs_and_derivatives_are_those_of_plain_autograd() -> None:
    for ours, theirs in zip(
        everything(instance_norm, problem()), everything(plain, problem()), strict=True
    ):
        assert (ours - theirs).norm() <= 1e-9 * theirs.norm()


def test_numerical_derivatives_agree() -> None:
    inputs = tuple(leaves(problem(side=3)))
    assert gradcheck(instance_norm, inputs)
    assert gradgradcheck(instance_norm, inputs)


def test_values_and_first_derivatives_have_the_bytes_of_torch() -> None:
    values = problem(torch.float32)
    found = []
    for norm in (instance_norm, plain):
        inputs = leaves(values)
        output = norm(*inputs)
        loss = (output * waves(output, 0.5)).pow(3).sum()
        found.append([output, *torch.autograd.grad(loss, inputs)])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 5e-3)]
)
def test_other_number_formats(dtype: torch.dtype, tolerance: float) -> None:
    values = problem(dtype)
    exact = everything(plain, tuple(value.double() for value in values))  # type: ignore[arg-type]
    usual = everything(plain, values)
    for found, other, wanted in zip(everything(instance_norm, values), usual, exact, strict=True):
        assert found.dtype == dtype
        error, its_error = ((value.double() - wanted).norm() for value in (found, other))
        assert error <= 1.2 * its_error + tolerance * wanted.norm()


def test_torch_func_differentiates_twice_and_over_batches() -> None:
    images, weight, bias = problem()
    several = (torch.stack([images, images.flip(0)]), torch.stack([weight, 2 * weight]))

    def hessian(norm: Norm) -> tuple[Tensor, Tensor]:
        def squares(images: Tensor, weight: Tensor) -> Tensor:
            def loss(images: Tensor) -> Tensor:
                return norm(images, weight, bias).sin().sum()

            gradient: Tensor = torch.func.grad(loss)(images)
            return gradient.square().sum()

        found: tuple[Tensor, Tensor] = torch.func.vmap(torch.func.grad(squares, argnums=(0, 1)))(
            *several
        )
        return found

    for ours, theirs in zip(hessian(instance_norm), hessian(plain), strict=True):
        assert (ours - theirs).norm() <= 1e-9 * theirs.norm()


def test_a_third_derivative_is_refused() -> None:
    inputs = leaves(problem())
    first = torch.autograd.grad(instance_norm(*inputs).pow(3).sum(), inputs, create_graph=True)
    (second,) = torch.autograd.grad(first[0].pow(2).sum(), inputs[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()


def test_the_emulated_device_gives_the_same_bytes() -> None:
    values = problem(torch.float32)
    expected = everything(instance_norm, values)
    with fake_device():
        moved = tuple(value.to(DEVICE) for value in values)
        found = [value.cpu() for value in everything(instance_norm, moved)]  # type: ignore[arg-type]
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


class Operators(TorchDispatchMode):
    """Counts operators that are not views."""

    count = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def test_a_second_derivative_takes_fewer_operators() -> None:
    counts = {}
    for norm in (instance_norm, plain):
        with Operators() as seen:
            everything(norm, problem())
        counts[norm] = seen.count
    assert counts[instance_norm] < counts[plain] - 30


def test_mixed_number_formats_are_left_to_torch() -> None:
    images, _, _ = problem(torch.bfloat16)
    norm = InstanceNorm(CHANNELS)
    assert torch.equal(norm(images), plain(images, norm.weight, norm.bias))


@pytest.mark.slow
def test_compiled_second_derivatives_are_the_eager_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch.compiler.reset()
    network = FlatModel(create_model(ConvNetSpec(width=8, depth=2), (3, 8, 8), 3, generator(0)))
    source = torch.Generator().manual_seed(0)
    theta, adjoint = torch.randn(2, network.numel, generator=source, dtype=torch.float64) / 4
    images = torch.randn(5, 3, 8, 8, generator=source, dtype=torch.float64)
    arguments = (theta, images, torch.tensor([0, 1, 2, 0, 1]), adjoint)
    fast, slow = InnerFunctions(network, compile=True), InnerFunctions(network)
    (found, _), (wanted, _) = fast.adjoint(*arguments), slow.adjoint(*arguments)
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).norm() <= 1e-9 * theirs.norm()
