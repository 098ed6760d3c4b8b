"""Normalisation and whitening: formulas, inverses, gradients, statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from pdd_ray.core.errors import DataError, FormatError
from pdd_ray.core.seeding import generator
from pdd_ray.data.pixels import (
    CHUNK,
    Identity,
    PixelTransform,
    Standardise,
    Whitening,
    fit_pixel_transform,
    fit_standardise,
    fit_whitening,
    load_pixel_transform,
    transform_in_chunks,
)
from pdd_ray.data.spec import DataSpec

if TYPE_CHECKING:
    from torch import Tensor


def pixels_of(count: int, channels: int = 3, height: int = 4, width: int = 5) -> Tensor:
    """Return correlated pixels in [0, 1] with another mean in every channel."""
    rng = generator(0, "pixels", count)
    base = torch.rand(count, channels, 1, 1, generator=rng)
    noise = torch.rand(count, channels, height, width, generator=rng)
    return (0.7 * base + 0.3 * noise) * torch.linspace(0.5, 1, channels)[:, None, None]


def slow_whitening(images: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, matrix and inverse, entry by entry, with an SVD as the reference has it."""
    count = len(images)
    flat = images.astype(np.float64).reshape(count, -1)
    size = flat.shape[1]
    mean = np.array([sum(flat[:, i]) / count for i in range(size)])
    covariance = np.zeros((size, size))
    for row in flat - mean:
        covariance += np.outer(row, row)
    covariance /= count - 1
    vectors, values, _ = np.linalg.svd(covariance)
    matrix, inverse = np.zeros((size, size)), np.zeros((size, size))
    for value, vector in zip(values, vectors.T, strict=True):
        matrix += np.outer(vector, vector) / np.sqrt(value + epsilon)
        inverse += np.outer(vector, vector) * np.sqrt(value + epsilon)
    return mean, matrix, inverse


@pytest.mark.parametrize("count", [20, 300])  # fewer and more than D = 60
@pytest.mark.parametrize("epsilon", [0.1, 1e-3])
def test_whitening_is_that_of_a_slow_twin(count: int, epsilon: float) -> None:
    images = pixels_of(count)
    exact = fit_whitening(images, epsilon, dtype=torch.float64)
    for got, expected in zip(
        exact.tensors().values(), slow_whitening(images.numpy(), epsilon), strict=True
    ):
        # condition of the square root: 1 / epsilon, times rounding of float64
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10, atol=1e-11 / epsilon)


def test_whitened_training_images_are_centred_and_nearly_uncorrelated() -> None:
    images = pixels_of(400)
    whitening = fit_whitening(images, 1e-6)
    flat = whitening.forward(images).flatten(1).double()
    assert flat.mean(0).abs().max() < 1e-3
    covariance = flat.T @ flat / (len(flat) - 1)
    # s / (s + epsilon) with the smallest eigenvalue about 1e-3, in float32
    torch.testing.assert_close(covariance, torch.eye(60).double(), atol=5e-3, rtol=0)


def test_statistics_are_float32_and_whitening_is_symmetric() -> None:
    whitening = fit_whitening(pixels_of(50), 0.1)
    for value in whitening.tensors().values():
        assert value.dtype == torch.float32
    for matrix in (whitening.matrix, whitening.inverse_matrix):
        torch.testing.assert_close(matrix, matrix.T)


def test_standardised_channels_have_mean_zero_and_deviation_one() -> None:
    images = pixels_of(2 * CHUNK + 3, height=2, width=2)
    prepared = fit_standardise(images).forward(images).double()
    assert prepared.mean((0, 2, 3)).abs().max() < 1e-6
    torch.testing.assert_close(
        prepared.var((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-5, rtol=0
    )


TRANSFORMS = [
    Identity(),
    fit_standardise(pixels_of(50)),
    fit_whitening(pixels_of(50), 0.1),
]
each_transform = pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: t.name)


@each_transform
class TestEveryTransform:
    def test_inverse_undoes_forward_and_keeps_shape(self, transform: PixelTransform) -> None:
        images = pixels_of(7)
        prepared = transform.forward(images)
        assert prepared.shape == images.shape
        torch.testing.assert_close(transform.inverse(prepared), images, atol=1e-5, rtol=0)

    def test_values_outside_of_the_unit_interval_are_not_clamped(
        self, transform: PixelTransform
    ) -> None:
        images = 10 * pixels_of(7) - 5
        torch.testing.assert_close(
            transform.inverse(transform.forward(images)), images, atol=1e-4, rtol=0
        )

    def test_results_have_the_dtype_of_the_images(self, transform: PixelTransform) -> None:
        assert transform.forward(pixels_of(2).double()).dtype == torch.float64
        assert transform.inverse(pixels_of(2).double()).dtype == torch.float64

    def test_both_directions_are_differentiable(self, transform: PixelTransform) -> None:
        images = pixels_of(2, height=4).double().requires_grad_()
        for direction in (transform.forward, transform.inverse):
            (gradient,) = torch.autograd.grad(direction(images).square().sum(), images)
            assert gradient.abs().sum() > 0

    def test_it_is_loaded_from_its_name_and_tensors(self, transform: PixelTransform) -> None:
        again = load_pixel_transform(transform.name, transform.tensors())
        assert type(again) is type(transform)
        assert torch.equal(again.forward(pixels_of(3)), transform.forward(pixels_of(3)))

    def test_chunks_give_what_the_whole_gives(self, transform: PixelTransform) -> None:
        images = pixels_of(CHUNK + 5)
        expected = transform.forward(images)
        transform_in_chunks(transform, images)
        # products of matrices of other sizes may add up in another order
        torch.testing.assert_close(images, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"), [("none", Identity), ("normalise", Standardise), ("zca", Whitening)]
)
def test_the_configuration_names_the_transform(name: str, kind: type) -> None:
    transform = fit_pixel_transform(pixels_of(10), DataSpec(preprocessing=name))
    assert isinstance(transform, kind)
    assert transform.name == name


def test_epsilon_comes_from_the_configuration() -> None:
    images = pixels_of(10)
    spec = DataSpec(preprocessing="zca", zca_epsilon=0.5)
    assert torch.equal(
        fit_pixel_transform(images, spec).tensors()["matrix"], fit_whitening(images, 0.5).matrix
    )


def test_a_constant_channel_cannot_be_normalised() -> None:
    images = pixels_of(10)
    images[:, 1] = 0.5
    with pytest.raises(DataError, match="channel 1 of the training images is constant"):
        fit_standardise(images)


def test_unknown_names_and_missing_statistics_are_refused() -> None:
    with pytest.raises(FormatError, match="unknown preprocessing 'pca'; known are none"):
        load_pixel_transform("pca", {})
    with pytest.raises(FormatError, match=r"'normalise' does not have the statistics \['mean'\]"):
        load_pixel_transform("normalise", {"mean": torch.zeros(3)})


def test_fitting_gives_the_same_bits_again() -> None:
    first, second = (fit_whitening(pixels_of(300), 0.1) for _ in range(2))
    for one, other in zip(first.tensors().values(), second.tensors().values(), strict=True):
        assert torch.equal(one, other)
