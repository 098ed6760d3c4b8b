"""Average pooling by a matrix product against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pdd_ray.models.average_pooling import AveragePool, average_by_product


def derivatives(images: Tensor, *, ours: bool) -> list[Tensor]:
    """Return the means, their derivative, and a derivative of that."""
    images = images.clone().requires_grad_(True)
    means = AveragePool()(images) if ours else F.avg_pool2d(images, 2, 2)
    (first,) = torch.autograd.grad(means.pow(3).sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), images)
    return [means.detach(), first.detach(), second]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "size", [(2, 2), (4, 6), (2, 8), (10, 16), (32, 24), (32, 32), (64, 64), (5, 8), (5, 7)]
)
def test_it_gives_the_bytes_of_torch(size: tuple[int, int], dtype: torch.dtype) -> None:
    source = torch.Generator().manual_seed(0)
    images = torch.randn(7, 5, *size, generator=source, dtype=dtype)
    for ours, theirs in zip(
        derivatives(images, ours=True), derivatives(images, ours=False), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_another_layout_keeps_it() -> None:
    images = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    means = AveragePool()(images)
    assert means.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(means, average_by_product(images))


def test_it_works_under_torch_func() -> None:
    images = torch.randn(6, 2, 3, 8, 8)
    pool = AveragePool()
    assert torch.equal(torch.func.vmap(pool)(images), torch.stack([pool(each) for each in images]))
