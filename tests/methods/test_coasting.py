"""The closed form of the momentum that coasts, against one optimiser step per class."""

import pytest
import torch

from pdd_ray.core.seeding import generator
from pdd_ray.methods.coasting import after_sweep, at_own_step

CLASSES = 4
LABELS = torch.tensor([0, 2, 0, 1, 2, 3, 3])


def gradient_of(images):
    """Return a gradient of each image that depends on the image."""
    return images.sin() + 0.1


def steps_per_class(images, sweeps, learning_rate, momentum):
    """Make one step of torch's SGD over all images per class, as IDC does."""
    images = images.clone().requires_grad_()
    optimiser = torch.optim.SGD([images], lr=learning_rate, momentum=momentum)
    for _ in range(sweeps):
        for label in range(CLASSES):
            own = LABELS.eq(label)[:, None, None, None]
            images.grad = torch.where(own, gradient_of(images.detach()), 0.0)
            optimiser.step()
    return images.detach(), optimiser.state[images].get("momentum_buffer")


def sweeps_at_once(images, sweeps, learning_rate, momentum):
    buffer = None
    for _ in range(sweeps):
        gradient = gradient_of(at_own_step(images, buffer, LABELS, learning_rate, momentum))
        images, buffer = after_sweep(
            images, gradient, buffer, LABELS, CLASSES, learning_rate, momentum
        )
    return images, buffer


def some_images(dtype=torch.float64):
    source = generator(2, "coasting")
    return torch.rand(len(LABELS), 2, 3, 3, generator=source, dtype=dtype)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("sweeps", [1, 2, 5])
def test_a_sweep_at_once_equals_one_optimiser_step_per_class(momentum, sweeps):
    images, buffer = sweeps_at_once(some_images(), sweeps, 0.3, momentum)
    expected, expected_buffer = steps_per_class(some_images(), sweeps, 0.3, momentum)
    torch.testing.assert_close(images, expected, rtol=1e-12, atol=1e-14)
    if momentum:
        torch.testing.assert_close(buffer, expected_buffer, rtol=1e-12, atol=1e-14)


def test_the_first_class_moves_twice_as_far_as_the_last_in_the_first_sweep():
    images = torch.zeros(2, 1, 1, 1, dtype=torch.float64)
    positions = torch.tensor([0, 29])
    moved, _ = after_sweep(images, torch.ones_like(images), None, positions, 30, 1.0, 0.5)
    torch.testing.assert_close(moved.flatten(), torch.tensor([-2.0, -1.0]).double())


def test_images_can_have_their_own_learning_rates():
    rates = torch.linspace(0.1, 0.7, len(LABELS), dtype=torch.float64).view(-1, 1, 1, 1)
    images, _ = sweeps_at_once(some_images(), 3, rates, 0.5)
    for index, rate in enumerate(rates.flatten().tolist()):
        alone, _ = sweeps_at_once(some_images(), 3, rate, 0.5)
        torch.testing.assert_close(images[index], alone[index], rtol=1e-14, atol=0.0)


def test_results_have_the_precision_of_the_images():
    images, buffer = sweeps_at_once(some_images(torch.float32), 2, 0.3, 0.5)
    assert images.dtype == buffer.dtype == torch.float32
