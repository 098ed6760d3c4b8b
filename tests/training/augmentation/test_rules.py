"""Rules of augmentation: what is applied in which order, shared numbers, gradients."""

import math
from collections import Counter

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from pdd_ray.configuration.strategies import RULES, check_rule_strategy
from pdd_ray.training.augmentation import dc, dsa
from pdd_ray.training.augmentation.rules import Augmentation, draw_augmentation
from pdd_ray.training.augmentation.spline import rotate_about_centre, turned_by

HEIGHT, WIDTH = 9, 12
FULL = {rule: "_".join(operations) for rule, operations in RULES.items()}
CASES = [(rule, name) for rule, names in RULES.items() for name in names]


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(count: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 3, HEIGHT, WIDTH, generator=source(1), dtype=dtype)


def drawn(
    rule: str, strategy: str, count: int = 5, seed: int = 0, *, shared: bool = False
) -> Augmentation:
    return draw_augmentation(rule, strategy, count, HEIGHT, WIDTH, source(seed), shared=shared)


def operations(augmentation: Augmentation) -> list[str]:
    return [draw.operation for draw in augmentation.draws]


@pytest.mark.parametrize("rule", RULES)
def test_no_strategy_leaves_the_images_alone(rule: str):
    images = sample()
    assert drawn(rule, "none").draws == ()
    assert drawn(rule, "none").apply(images) is images


@pytest.mark.parametrize("seed", range(8))
def test_dsa_is_what_one_draw_of_the_strategy_gives(seed: int):
    images = sample()
    (ours,) = drawn("dsa", FULL["dsa"], seed=seed).draws
    draw = dsa.draw(FULL["dsa"], len(images), HEIGHT, WIDTH, source(seed))
    assert draw is not None
    assert ours.operation == draw.operation
    assert all(torch.equal(value, draw.values[name]) for name, value in ours.values.items())
    result = drawn("dsa", FULL["dsa"], seed=seed).apply(images)
    assert torch.equal(result, dsa.apply(images, draw))


@pytest.mark.parametrize(
    ("strategy", "before", "one_of", "after"),
    [
        ("color_crop_cutout_flip_scale_rotate", ["flip", "color"], "crop scale rotate", ["cutout"]),
        ("color_crop_cutout", ["color"], "crop", ["cutout"]),
        ("rotate_flip_scale", ["flip"], "scale rotate", []),
        ("cutout_color", ["color"], "", ["cutout"]),
    ],
)
def test_idc_applies_flip_colour_one_of_the_rest_and_cutout(
    strategy: str, before: list[str], one_of: str, after: list[str]
):
    chosen = set()
    for seed in range(40):
        names = operations(drawn("idc", strategy, seed=seed))
        middle = names[len(before) : len(names) - len(after)]
        assert names == [*before, *middle, *after]
        assert len(middle) == bool(one_of)
        chosen.update(middle)
    assert chosen == set(one_of.split())


def test_idc_draws_the_rest_uniformly():
    count = 3000
    generator = source()
    chosen = Counter(
        draw_augmentation("idc", "crop_scale_rotate", 1, 8, 8, generator).draws[0].operation
        for _ in range(count)
    )
    # five standard deviations of a binomial count
    allowed = 5 * math.sqrt(count * 2 / 9)
    assert all(abs(number - count / 3) < allowed for number in chosen.values())


def test_the_draws_are_applied_one_after_the_other():
    images = sample()
    augmentation = drawn("idc", FULL["idc"])
    expected = images
    for draw in augmentation.draws:
        expected = dsa.apply(expected, draw, align_corners=False)
    assert len(augmentation.draws) == 4
    assert torch.equal(augmentation.apply(images), expected)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rule", RULES)
def test_shared_numbers_are_the_same_for_images_of_any_batch(rule: str, seed: int):
    shared = drawn(rule, FULL[rule].replace("crop_", ""), seed=seed, shared=True)
    assert all(len(v) == 1 for draw in shared.draws for v in draw.values.values())
    images = sample(5)
    whole = shared.apply(images)
    parts = torch.cat([shared.apply(images[:2]), shared.apply(images[2:])])
    if rule != "dc":  # rotate there fills with the mean of the batch
        torch.testing.assert_close(whole, parts, rtol=1e-12, atol=1e-12)
    repeated = [
        dsa.Draw(d.operation, {k: v.repeat(5) for k, v in d.values.items()}) for d in shared.draws
    ]
    assert torch.equal(whole, Augmentation(tuple(repeated), shared.align_corners).apply(images))


@pytest.mark.parametrize(("rule", "strategy"), [*CASES, *FULL.items()])
def test_pixel_gradients_agree_with_finite_differences(rule: str, strategy: str):
    augmentation = draw_augmentation(rule, strategy, 3, 5, 6, source())
    images = sample(3)[:, :2, :5, :6].clone().requires_grad_()
    assert torch.autograd.gradcheck(augmentation.apply, images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rule", "strategy"), [*CASES, *FULL.items()])
def test_images_keep_shape_dtype_and_are_not_changed(rule: str, strategy: str, dtype: torch.dtype):
    images = sample(dtype=dtype)
    before = images.clone()
    result = drawn(rule, strategy).apply(images)
    assert (result.shape, result.dtype) == (images.shape, dtype)
    assert torch.equal(images, before)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 2, 3), (3, 5, 2), (1, 28, 28)])
@pytest.mark.parametrize(("rule", "strategy"), CASES)
def test_a_single_image_of_any_size_works(
    rule: str, strategy: str, shape: tuple[int, int, int], shared: bool
):
    images = torch.ones(1, *shape)
    augmentation = draw_augmentation(rule, strategy, 1, *shape[1:], source(), shared=shared)
    assert augmentation.apply(images).isfinite().all()


@pytest.mark.parametrize("rule", RULES)
def test_draws_come_from_the_given_generator_alone(rule: str):
    images, before = sample(), torch.get_rng_state()
    one, other = (drawn(rule, FULL[rule]).apply(images) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("rule", "name"), [("dsa", "noise"), ("idc", "blur"), ("dc", "flip")])
def test_an_operation_that_the_rule_does_not_know_is_refused(rule: str, name: str):
    with pytest.raises(ValueError, match=f"unknown augmentation '{name}' in 'crop_{name}'"):
        check_rule_strategy(rule, f"crop_{name}")
    with pytest.raises(ValueError, match=f"unknown augmentation '{name}'"):
        drawn(rule, f"crop_{name}")


def test_idc_draws_have_one_number_per_image_unless_shared():
    for draw in drawn("idc", FULL["idc"], 64).draws:
        assert all(len(value) == 64 and len(value.unique()) > 1 for value in draw.values.values())


# DC's rule: one operation per image


def values_of(name: str, count: int = 5, seed: int = 0) -> dsa.Values:
    return drawn("dc", name, count, seed).draws[0].values


def slow_crop(image: Tensor, start: tuple[int, int], means: Tensor) -> Tensor:
    padded = means[:, None, None].repeat(1, HEIGHT + 8, WIDTH + 8)
    padded[:, 4 : 4 + HEIGHT, 4 : 4 + WIDTH] = image
    return padded[:, start[0] : start[0] + HEIGHT, start[1] : start[1] + WIDTH]


def slow_scale(image: Tensor, factors: tuple[float, float]) -> Tensor:
    height, width = int(factors[0] * HEIGHT), int(factors[1] * WIDTH)
    side = max(height, width, HEIGHT, WIDTH)
    canvas = torch.zeros(3, side, side, dtype=image.dtype)
    for row in range(height):
        for col in range(width):
            pixel = image[:, row * HEIGHT // height, col * WIDTH // width]
            canvas[:, (side - height) // 2 + row, (side - width) // 2 + col] = pixel
    top, left = (side - HEIGHT) // 2, (side - WIDTH) // 2
    return canvas[:, top : top + HEIGHT, left : left + WIDTH]


def scipy_rotate(image: Tensor, degrees: int, outside: float) -> Tensor:
    height, width = image.shape[1:]
    turned = scipy.ndimage.rotate(
        image.numpy(), degrees, axes=(1, 2), order=3, mode="constant", cval=outside
    )
    top, left = int((turned.shape[1] - height) / 2), int((turned.shape[2] - width) / 2)
    return torch.from_numpy(turned[:, top : top + height, left : left + width])


@pytest.mark.parametrize("seed", range(3))
def test_dc_crop_agrees_with_its_slow_twin(seed: int):
    images, values = sample(), values_of("crop", seed=seed)
    means = images.mean(dim=(0, 2, 3))
    starts = zip(values["start_rows"].tolist(), values["start_cols"].tolist(), strict=True)
    expected = torch.stack(
        [slow_crop(image, start, means) for image, start in zip(images, starts, strict=True)]
    )
    assert torch.equal(dc.apply(images, values), expected)


@pytest.mark.parametrize("seed", range(3))
def test_dc_scale_agrees_with_its_slow_twin(seed: int):
    images, values = sample(), values_of("scale", seed=seed)
    factors = zip(values["factor_rows"].tolist(), values["factor_cols"].tolist(), strict=True)
    expected = torch.stack(
        [slow_scale(image, both) for image, both in zip(images, factors, strict=True)]
    )
    assert torch.equal(dc.apply(images, values), expected)


@pytest.mark.parametrize("shape", [(8, 8), (9, 12), (7, 4), (28, 28), (12, 11)])
def test_dc_rotate_agrees_with_scipy(shape: tuple[int, int]):
    degrees = torch.tensor([-45, -31, -1, 0, 8, 23, 44])
    images = torch.randn(7, 2, *shape, generator=source(), dtype=torch.float64)
    means = images.mean(dim=(0, 2, 3))
    outside = float(means.mean())
    expected = [
        scipy_rotate(image, angle, outside)
        for image, angle in zip(images, degrees.tolist(), strict=True)
    ]
    rotate = torch.full_like(degrees, dc.OPERATIONS.index("rotate"))
    result = dc.apply(images, {"operation": rotate, "degrees": degrees})
    torch.testing.assert_close(result, torch.stack(expected), rtol=1e-10, atol=1e-10)
    tap_by_tap = rotate_about_centre(images, degrees, means.mean())
    torch.testing.assert_close(tap_by_tap, torch.stack(expected), rtol=1e-10, atol=1e-10)


def test_large_images_are_rotated_without_a_table():
    images = sample(2).repeat(1, 1, 20, 20)
    degrees = torch.tensor([-45, 44])
    outside = images.mean()
    expected = rotate_about_centre(images, degrees, outside)
    assert torch.equal(turned_by(images, degrees, outside), expected)


def test_dc_noise_is_small_and_belongs_to_the_image_and_the_draw():
    images, values = torch.zeros(2, 3, 40, 40, dtype=torch.float64), values_of("noise", 2)
    noise = dc.apply(images, values)
    assert torch.equal(noise, dc.apply(images, values))
    assert not torch.equal(noise[0], noise[1])
    # the deviation of 4800 values is known to 1% (one standard deviation)
    np.testing.assert_allclose(noise.std(dim=(1, 2, 3)), 0.001, rtol=0.05)


def test_dc_draws_an_operation_for_every_image():
    values = values_of(FULL["dc"], 4000)
    counts = torch.bincount(values["operation"])
    # five standard deviations of a binomial count
    assert len(counts) == 4
    assert (counts - 1000).abs().max() < 5 * math.sqrt(4000 * 3 / 16)
    assert values_of("noise_crop", 64)["operation"].unique().tolist() == [0, 3]


def alone(image: Tensor, operation: str, values: dsa.Values, means: Tensor) -> Tensor:
    numbers = {name: value.item() for name, value in values.items()}
    if operation == "noise":
        return image + 0.001 * dc.normal_noise(values["noise_seed"], *image.shape)[0].double()
    if operation == "crop":
        return slow_crop(image, (numbers["start_rows"], numbers["start_cols"]), means)
    if operation == "scale":
        return slow_scale(image, (numbers["factor_rows"], numbers["factor_cols"]))
    return rotate_about_centre(image[None], values["degrees"], means.mean())[0]


def test_dc_takes_the_means_of_the_batch_before_any_change():
    images = sample(6)
    values = values_of(FULL["dc"], 6, seed=3)
    assert len(values["operation"].unique()) > 2
    means = images.mean(dim=(0, 2, 3))
    expected = [
        alone(
            images[i],
            dc.OPERATIONS[position],
            {name: value[i : i + 1] for name, value in values.items()},
            means,
        )
        for i, position in enumerate(values["operation"].tolist())
    ]
    torch.testing.assert_close(dc.apply(images, values), torch.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("strategy", "name", "low", "high"),
    [
        ("crop", "start_rows", 0, 7),
        ("crop", "start_cols", 0, 7),
        ("rotate", "degrees", -45, 44),
    ],
)
def test_dc_whole_draws_fill_their_range(strategy: str, name: str, low: int, high: int):
    values = values_of(strategy, 4000)[name]
    assert values.unique().tolist() == list(range(low, high + 1))


def test_dc_scale_factors_fill_their_range():
    for name in ("factor_rows", "factor_cols"):
        values = values_of("scale", 4000)[name]
        assert 0.8 <= float(values.min()) < 0.802
        assert 1.198 < float(values.max()) <= 1.2
