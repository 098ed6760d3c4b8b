"""Differentiable augmentation: slow twins, finite differences, ranges of the draws."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from pdd_ray.configuration.training import DSA_OPERATIONS, FULL_DSA
from pdd_ray.training.augmentation.dsa import Draw, Values, apply, draw

OPERATIONS = [*DSA_OPERATIONS, "brightness", "saturation", "contrast"]
HEIGHT, WIDTH = 9, 12
Matrix = tuple[tuple[float, float], tuple[float, float]]
Shape = tuple[int, int, int]


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(count: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 3, HEIGHT, WIDTH, generator=source(1), dtype=dtype)


def drawn(operation: str, count: int = 4, seed: int = 2) -> Draw:
    """Return a draw of ``operation``; parts of `color` take its numbers."""
    strategy = operation if operation in DSA_OPERATIONS else "color"
    result = draw(strategy, count, HEIGHT, WIDTH, source(seed))
    assert result is not None
    return Draw(operation, result.values)


def slow_color(image: Tensor, values: Values):
    image = image + float(values["u_brightness"]) - 0.5
    grey = sum(image) / len(image)
    image = (image - grey) * (2 * float(values["u_saturation"])) + grey
    mean = image.sum() / image.numel()
    return (image - mean) * (float(values["u_contrast"]) + 0.5) + mean


def slow_crop(image: Tensor, values: Values):
    result = torch.zeros_like(image)
    for row in range(HEIGHT):
        for col in range(WIDTH):
            r, c = row + int(values["shift_rows"]), col + int(values["shift_cols"])
            if 0 <= r < HEIGHT and 0 <= c < WIDTH:
                result[:, row, col] = image[:, r, c]
    return result


def slow_cutout(image: Tensor, values: Values):
    result = image.clone()
    height, width = int(0.5 * HEIGHT + 0.5), int(0.5 * WIDTH + 0.5)
    for row in range(height):
        for col in range(width):
            r = min(max(int(values["offset_rows"]) - height // 2 + row, 0), HEIGHT - 1)
            c = min(max(int(values["offset_cols"]) - width // 2 + col, 0), WIDTH - 1)
            result[:, r, c] = 0
    return result


def slow_flip(image: Tensor, values: Values):
    if values["u_flip"] >= 0.5:
        return image
    return torch.stack([image[:, :, WIDTH - 1 - col] for col in range(WIDTH)], dim=2)


def slow_map(image: Tensor, matrix: Matrix):
    """Sample bilinearly where ``matrix`` leads from positions with corners at -1 and 1."""
    result = torch.zeros_like(image)
    for row in range(HEIGHT):
        for col in range(WIDTH):
            x, y = 2 * col / (WIDTH - 1) - 1, 2 * row / (HEIGHT - 1) - 1
            c = (matrix[0][0] * x + matrix[0][1] * y + 1) * (WIDTH - 1) / 2
            r = (matrix[1][0] * x + matrix[1][1] * y + 1) * (HEIGHT - 1) / 2
            for near_r in (math.floor(r), math.floor(r) + 1):
                for near_c in (math.floor(c), math.floor(c) + 1):
                    if 0 <= near_r < HEIGHT and 0 <= near_c < WIDTH:
                        weight = (1 - abs(r - near_r)) * (1 - abs(c - near_c))
                        result[:, row, col] += weight * image[:, near_r, near_c]
    return result


def slow_scale(image: Tensor, values: Values):
    sx, sy = (float(values[name]) * (1.2 - 1 / 1.2) + 1 / 1.2 for name in ("u_sx", "u_sy"))
    return slow_map(image, ((sx, 0), (0, sy)))


def slow_rotate(image: Tensor, values: Values):
    angle = (float(values["u_angle"]) - 0.5) * 2 * 15 / 180 * math.pi
    cosine, sine = math.cos(angle), math.sin(angle)
    return slow_map(image, ((cosine, -sine), (sine, cosine)))


SLOW = {
    "color": slow_color,
    "crop": slow_crop,
    "cutout": slow_cutout,
    "flip": slow_flip,
    "scale": slow_scale,
    "rotate": slow_rotate,
}


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("operation", DSA_OPERATIONS)
def test_every_operation_agrees_with_its_slow_twin(operation: str, seed: int):
    images, numbers = sample(), drawn(operation, seed=seed)
    expected = [
        SLOW[operation](image, {name: value[i] for name, value in numbers.values.items()})
        for i, image in enumerate(images)
    ]
    # float32 draws are exact in float64, so that only float64 rounding is left
    torch.testing.assert_close(
        apply(images, numbers), torch.stack(expected), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_pixel_gradients_agree_with_finite_differences(operation: str):
    images, numbers = sample(2).requires_grad_(), drawn(operation, 2)
    assert torch.autograd.gradcheck(lambda x: apply(x, numbers), images)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_single_number_holds_for_all_images(operation: str):
    images, single = sample(), drawn(operation, count=1)
    repeated = Draw(operation, {k: v.repeat(len(images)) for k, v in single.values.items()})
    assert torch.equal(apply(images, single), apply(images, repeated))
    alone = torch.cat([apply(image[None], single) for image in images])
    torch.testing.assert_close(apply(images, single), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_numbers_for_another_batch_size_are_refused(operation: str):
    with pytest.raises(RuntimeError, match="must match the existing size"):
        apply(sample(4), drawn(operation, count=3))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_images_keep_shape_dtype_and_are_not_changed(operation: str):
    images = sample(dtype=torch.float32)
    before = images.clone()
    result = apply(images, drawn(operation))
    assert result.shape == images.shape
    assert result.dtype == torch.float32
    assert torch.equal(images, before)


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 3, 2), (3, 5, 4)])
@pytest.mark.parametrize("operation", DSA_OPERATIONS)
def test_tiny_images_work(operation: str, shape: Shape):
    images = torch.ones(2, *shape)
    assert apply(images, draw(operation, 2, *shape[1:], source())).shape == images.shape


def test_rotation_of_square_images_does_not_depend_on_the_convention():
    images = torch.randn(4, 3, 8, 8, generator=source(), dtype=torch.float64)
    numbers = draw("rotate", 4, 8, 8, source())
    torch.testing.assert_close(apply(images, numbers), apply(images, numbers, align_corners=False))


def test_no_augmentation_returns_the_images():
    images = sample()
    assert draw("none", 4, HEIGHT, WIDTH, source()) is None
    assert apply(images, None) is images


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match="unknown augmentation 'blur'"):
        draw("color_blur", 4, HEIGHT, WIDTH, source())


def test_draws_come_from_the_given_generator_alone():
    before = torch.get_rng_state()
    first, second = ([draw(FULL_DSA, 3, 8, 8, g) for _ in range(20)] for g in (source(), source()))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first, second, strict=True):
        assert a.operation == b.operation
        assert all(torch.equal(value, b.values[name]) for name, value in a.values.items())


def test_one_operation_is_drawn_uniformly_per_batch():
    generator = source()
    count = 3000
    operations = Counter(draw(FULL_DSA, 1, 8, 8, generator).operation for _ in range(count))
    assert set(operations) == set(DSA_OPERATIONS)
    # five standard deviations of a binomial count
    allowed = 5 * math.sqrt(count / 6 * 5 / 6)
    assert all(abs(number - count / 6) < allowed for number in operations.values())


def test_every_image_has_its_own_numbers():
    for operation in DSA_OPERATIONS:
        numbers = draw(operation, 64, 32, 32, source())
        assert all(
            len(value) == 64 and len(value.unique()) > 1 for value in numbers.values.values()
        )


@pytest.mark.parametrize(
    ("operation", "name", "size", "low", "high"),
    [
        ("crop", "shift_rows", (32, 8), -4, 4),
        ("crop", "shift_cols", (32, 64), -8, 8),
        ("cutout", "offset_rows", (32, 8), 0, 32),
        ("cutout", "offset_cols", (32, 10), 0, 9),  # windows of odd size 5: one position less
    ],
)
def test_whole_pixel_draws_fill_their_range(
    operation: str, name: str, size: tuple[int, int], low: int, high: int
):
    values = draw(operation, 4000, *size, source()).values[name]
    assert values.dtype == torch.int64
    assert (int(values.min()), int(values.max())) == (low, high)
    assert len(values.unique()) == high - low + 1


@pytest.mark.parametrize("operation", ["color", "flip", "scale", "rotate"])
def test_uniform_draws_fill_the_unit_interval(operation: str):
    for value in draw(operation, 4000, 8, 8, source()).values.values():
        assert value.dtype == torch.float32
        assert 0 <= float(value.min()) < 0.01
        assert 0.99 < float(value.max()) < 1
