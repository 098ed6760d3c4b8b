"""CutMix: boxes, what is pasted, label weights, distribution of the draws."""

import math

import pytest
import torch
from torch import Tensor

from pdd_ray.training.augmentation.cutmix import Box, CutMix, box_of, draw_cutmix, label_ratio

HEIGHT, WIDTH = 9, 12


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(count: int = 4) -> Tensor:
    return torch.randn(count, 3, HEIGHT, WIDTH, generator=source(1), dtype=torch.float64)


def slow_mix(images: Tensor, mix: CutMix) -> Tensor:
    result = images.clone()
    for i, partner in enumerate(mix.permutation.tolist()):
        for row in range(mix.box.row, mix.box.row_end):
            for col in range(mix.box.col, mix.box.col_end):
                result[i, :, row, col] = images[partner, :, row, col]
    return result


def draws(count: int, size: int = 4, probability: float = 1.0) -> list[CutMix | None]:
    generator = source()
    return [draw_cutmix(probability, size, HEIGHT, WIDTH, generator) for _ in range(count)]


@pytest.mark.parametrize("seed", range(6))
def test_a_batch_is_mixed_as_its_slow_twin_does(seed: int):
    images = sample()
    mix = draw_cutmix(1.0, len(images), HEIGHT, WIDTH, source(seed))
    assert mix is not None
    before = images.clone()
    assert torch.equal(mix.apply(images), slow_mix(images, mix))
    assert torch.equal(images, before)


def test_the_ratio_is_the_part_of_an_image_that_stays():
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, HEIGHT, WIDTH)
    for mix in draws(50):
        assert mix is not None
        derangement = CutMix(torch.tensor([1, 2, 3, 0]), mix.box, mix.ratio)
        own = (derangement.apply(images) == images).double().mean(dim=(1, 2, 3))
        torch.testing.assert_close(own, torch.full_like(own, mix.ratio), rtol=1e-12, atol=1e-12)


def test_pixel_gradients_agree_with_finite_differences():
    mix = CutMix(torch.tensor([2, 2, 0]), Box(1, 3, 4, 9), 0.5)
    assert torch.autograd.gradcheck(mix.apply, sample(3).requires_grad_())


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.99, 1.0])
@pytest.mark.parametrize("centre", [(0, 0), (4, 6), (8, 11)])
def test_boxes_are_even_sided_and_clipped_to_the_image(lam: float, centre: tuple[int, int]):
    box = box_of(lam, *centre, HEIGHT, WIDTH)
    rows, cols = (2 * (int(size * math.sqrt(1 - lam)) // 2) for size in (HEIGHT, WIDTH))
    inside = [
        (row, col)
        for row in range(centre[0] - rows // 2, centre[0] + rows // 2)
        for col in range(centre[1] - cols // 2, centre[1] + cols // 2)
        if 0 <= row < HEIGHT and 0 <= col < WIDTH
    ]
    assert box.area == len(inside)
    assert label_ratio(box, HEIGHT, WIDTH) == 1 - len(inside) / (HEIGHT * WIDTH)
    if inside:
        assert (box.row, box.col) == inside[0]
        assert (box.row_end - 1, box.col_end - 1) == inside[-1]


def test_batches_are_mixed_with_the_given_probability():
    assert all(mix is None for mix in draws(20, probability=0.0))
    count = 2000
    mixed = sum(mix is not None for mix in draws(count, probability=0.3))
    # five standard deviations of a binomial count
    assert abs(mixed - 0.3 * count) < 5 * math.sqrt(count * 0.3 * 0.7)


def test_centre_lambda_and_partners_fill_their_range():
    mixes = draws(2000)
    assert {mix.box.row for mix in mixes} == set(range(HEIGHT))
    assert {mix.box.col for mix in mixes} == set(range(WIDTH))
    assert min(mix.ratio for mix in mixes) < 0.3
    assert max(mix.ratio for mix in mixes) == 1.0
    assert {mix.permutation[0].item() for mix in mixes} == {0, 1, 2, 3}
    assert all(mix.permutation.dtype == torch.int64 for mix in mixes)
    assert all(sorted(mix.permutation.tolist()) == [0, 1, 2, 3] for mix in mixes)


def test_a_single_image_is_mixed_with_itself():
    image = sample(1)
    for mix in draws(10, size=1):
        assert mix is not None
        assert torch.equal(mix.apply(image), image)


def test_draws_come_from_the_given_generator_alone():
    before = torch.get_rng_state()
    one, other = draws(10, probability=0.5), draws(10, probability=0.5)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(one, other, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert torch.equal(a.permutation, b.permutation)
            assert (a.box, a.ratio) == (b.box, b.ratio)
