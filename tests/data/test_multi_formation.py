"""Multi-formation: decoding against slow twins, order, gradients, mixed first images."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pdd_ray.data.multi_formation import (
    decode,
    decode_bound,
    decode_labels,
    decode_multi,
    mix_initial,
)

SIZES = [(8, 8), (9, 9), (7, 12), (10, 5), (1, 1), (2, 3)]
Size = tuple[int, int]


def sample(count: int, size: Size, dtype: torch.dtype = torch.float64) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.rand(count, 2, *size, generator=source, dtype=dtype)


def slow_decode(images: Tensor, factor: int) -> Tensor:
    """Cut every image into parts and let torch enlarge them."""
    height, width = images.shape[2:]
    rows, cols = -(-height // factor), -(-width // factor)
    padded = torch.full((*images.shape[:2], rows * factor, cols * factor), 0.5, dtype=images.dtype)
    padded[:, :, :height, :width] = images
    parts = [
        padded[:, :, i * rows : (i + 1) * rows, j * cols : (j + 1) * cols]
        for i in range(factor)
        for j in range(factor)
    ]
    return F.interpolate(torch.cat(parts), (height, width), mode="bilinear", align_corners=False)


def slow_mix(images: Tensor, factor: int, count: int) -> Tensor:
    height, width = images.shape[2:]
    ends = [
        [
            0,
            *(
                sum(size // factor + (i < size % factor) for i in range(k + 1))
                for k in range(factor)
            ),
        ]
        for size in (height, width)
    ]
    result = torch.full((count, *images.shape[1:]), torch.nan, dtype=images.dtype)
    for i in range(factor):
        for j in range(factor):
            (top, bottom), (left, right) = ends[0][i : i + 2], ends[1][j : j + 2]
            for image in range(count):
                real = images[(i * factor + j) * count + image]
                for row in range(top, bottom):
                    for col in range(left, right):
                        r = (row - top) * height // (bottom - top)
                        c = (col - left) * width // (right - left)
                        result[image, :, row, col] = real[:, r, c]
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_decoding_agrees_with_its_slow_twin(size: Size, factor: int, dtype: torch.dtype):
    images = sample(3, size, dtype)
    decoded = decode(images, factor)
    assert decoded.dtype == dtype
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6  # rounding
    torch.testing.assert_close(decoded, slow_decode(images, factor), rtol=0, atol=tolerance)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_pixel_gradients_agree_with_finite_differences(size: Size, factor: int):
    images = sample(2, size).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: decode(x, factor), images)
    assert torch.autograd.gradgradcheck(lambda x: decode(x, factor) ** 2, images)


def test_parts_are_ordered_by_place_and_labels_follow():
    images = torch.arange(3.0).view(3, 1, 1, 1) * 10 + torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    decoded = decode(images, 2).mean(dim=(1, 2, 3))
    assert decoded.tolist() == [0, 10, 20, 1, 11, 21, 2, 12, 22, 3, 13, 23]
    assert decode_labels(torch.tensor([5, 7, 6]), 2).tolist() == [5, 7, 6] * 4


def test_labels_may_be_probabilities():
    labels = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert torch.equal(decode_labels(labels, 2), torch.cat([labels] * 4))
    assert torch.equal(decode_labels(labels, 1), labels)


def test_factor_one_changes_nothing():
    images = sample(3, (5, 7))
    assert decode(images, 1) is images
    assert mix_initial(images, 1, 3) is images


def test_no_images_are_decoded_to_none():
    assert decode(sample(0, (5, 7)), 2).shape == (0, 2, 5, 7)


def test_multi_is_every_factor_after_the_other():
    images, labels = sample(2, (7, 6)), torch.tensor([4, 3])
    decoded, targets = decode_multi(images, labels, 3)
    assert torch.equal(decoded, torch.cat([images, decode(images, 2), decode(images, 3)]))
    assert targets.tolist() == [4, 3] * 14


@pytest.mark.parametrize(
    ("bound", "counts"),
    [(70, [7, 0, 0]), (63, [6, 1, 0]), (30, [2, 1, 4]), (7, [0, 0, 7]), (3, [0, 0, 7])],
)
def test_bound_decodes_with_large_factors_as_far_as_there_is_room(bound: int, counts: list[int]):
    images, labels = sample(7, (6, 6)), torch.arange(7)
    decoded, targets = decode_bound(images, labels, 3, bound)
    parts = zip(images.split(counts), labels.split(counts), (3, 2, 1), strict=True)
    expected = [(decode(x, f), decode_labels(y, f)) for x, y, f in parts]
    assert torch.equal(decoded, torch.cat([x for x, _ in expected]))
    assert torch.equal(targets, torch.cat([y for _, y in expected]))
    assert len(decoded) <= max(bound, 7)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_mixing_agrees_with_its_slow_twin(size: Size, factor: int):
    images = sample(2 * factor**2, size)
    mixed = mix_initial(images, factor, 2)
    assert torch.equal(mixed, slow_mix(images, factor, 2))
    assert mixed.is_contiguous()


@pytest.mark.parametrize("factor", [2, 3])
def test_decoding_mixed_images_gives_back_what_went_in_up_to_resizing(factor: int):
    level = torch.arange(2.0 * factor**2, dtype=torch.float64).view(-1, 1, 1, 1)
    images = level.expand(-1, 3, 6 * factor, 12).contiguous()
    decoded = decode(mix_initial(images, factor, 2), factor)
    torch.testing.assert_close(decoded, images, rtol=1e-12, atol=1e-12)


def test_a_wrong_number_of_images_is_refused():
    with pytest.raises(ValueError, match="got 7 images; 2 mixed ones of factor 2 take 8"):
        mix_initial(sample(7, (4, 4)), 2, 2)
