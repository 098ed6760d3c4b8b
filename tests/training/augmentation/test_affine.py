"""The gradient of affine sampling that is summed in one order, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pdd_ray.testing.fake_device import DEVICE, fake_device
from pdd_ray.training.augmentation import affine
from pdd_ray.training.augmentation.dsa import Draw, _reach, apply

SIZES = [(9, 12), (12, 9), (8, 8), (2, 5), (33, 32)]
EXTREMES = torch.tensor([0.0, 1.0 - 2**-24, 0.5, 0.25, 0.1, 0.9])
"""Numbers of both ends of each operation, of no change, and others."""


@pytest.fixture
def deterministic():
    """Use deterministic operators alone."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def draw_of(operation: str) -> Draw:
    names = {"scale": ("u_sx", "u_sy"), "rotate": ("u_angle",)}[operation]
    return Draw(operation, {name: EXTREMES.roll(shift) for shift, name in enumerate(names)})


def images_of(size: tuple[int, int], dtype: torch.dtype = torch.float64) -> Tensor:
    source = torch.Generator().manual_seed(3)
    return torch.randn(len(EXTREMES), 2, *size, generator=source, dtype=dtype)


def gradient_of(images: Tensor, draw: Draw, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Return the sampled images, and the gradient of their product with other images."""
    leaf = images.clone().requires_grad_(True)
    sampled = apply(leaf, draw, align_corners=align_corners)
    (gradient,) = torch.autograd.grad((sampled * images.flip(0)).sum(), leaf)
    return sampled, gradient


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("operation", ["scale", "rotate"])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_torch_s_gradient(
    size: tuple[int, int], operation: str, align_corners: bool, monkeypatch: pytest.MonkeyPatch
):
    draw, images = draw_of(operation), images_of(size)
    sampled, gradient = gradient_of(images, draw, align_corners)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    ours, gathered = gradient_of(images, draw, align_corners)
    assert "Sampling" in type(ours.grad_fn).__name__
    assert torch.equal(ours, sampled)
    torch.testing.assert_close(gathered, gradient, rtol=1e-12, atol=1e-12)
    single = gradient_of(images.float(), draw, align_corners)[1]
    torch.testing.assert_close(single, gradient.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("operation", ["scale", "rotate"])
def test_its_derivatives_are_those_of_finite_differences(operation: str):
    draw, images = draw_of(operation), images_of((4, 5)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: apply(x, draw), images)
    assert torch.autograd.gradgradcheck(lambda x: apply(x, draw).square(), images)


@pytest.mark.usefixtures("deterministic")
def test_it_can_be_differentiated_and_mapped_as_a_function():
    draw, images = draw_of("rotate"), images_of((6, 6))
    stacked = torch.stack([images, images.flip(0)])

    def loss(x: Tensor) -> Tensor:
        return apply(x, draw).square().sum()

    leaf = stacked[1].clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(stacked[1]), expected)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(stacked)[1], expected)


def test_no_pixel_is_read_from_further_away_than_is_looked_for(monkeypatch: pytest.MonkeyPatch):
    """With one candidate less in each direction the gradient is another one."""
    draw, images = draw_of("rotate"), images_of((33, 32))
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    gradient = gradient_of(images, draw, True)[1]
    monkeypatch.setattr("pdd_ray.training.augmentation.dsa._reach", lambda *_: (1.0, 1.0))
    assert not torch.allclose(gradient_of(images, draw, True)[1], gradient, atol=1e-3)


def test_the_reach_follows_the_shape_of_images():
    rows, cols = _reach(torch.empty(1, 1, 9, 17), True)
    assert (rows, round(cols, 4)) == (1.2, round(1 + 0.258819 * 2, 4))


@pytest.mark.usefixtures("deterministic")
def test_on_a_device_ours_is_summed_in_one_order_and_torch_s_is_not():
    draw, images = draw_of("rotate"), images_of((8, 8))
    sampled, gradient = gradient_of(images, draw, True)
    with fake_device() as seen:
        on_device = images.to(DEVICE)
        ours = [value.cpu() for value in gradient_of(on_device, draw, True)]
        assert torch.equal(ours[0], sampled)
        assert torch.equal(ours[1], gradient)
        assert not seen.varying
        assert not seen.syncs_at("affine.py")
        leaf = on_device.clone().requires_grad_(True)
        matrix = torch.eye(2, 3, dtype=torch.float64).expand(len(images), 2, 3).to(DEVICE)
        plain = affine._sample(leaf, matrix, True)
        torch.autograd.grad(plain.sum(), leaf)
        assert {name for _, name in seen.varying} == {"grid_sampler_2d_backward"}
