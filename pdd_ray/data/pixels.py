"""How pixels in [0, 1] become prepared values, and back: normalisation and ZCA whitening.

Statistics are fitted in float64 and kept as float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

from pdd_ray.core.errors import DataError, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from pdd_ray.data.spec import DataSpec

CHUNK = 256
"""Images that are converted to float64 at once: few, so that memory is reused, not mapped anew."""


class PixelTransform(Protocol):
    """An invertible map between pixels and prepared values.

    Images have shape [N, C, H, W]; results have the dtype and device of the images, which need
    not be those of the statistics. Both directions are differentiable in the images, and neither
    clamps.
    """

    name: ClassVar[str]
    """The value of ``data.preprocessing`` that asks for it."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the prepared values of pixels."""

    def inverse(self, images: Tensor) -> Tensor:
        """Return the pixels of prepared values."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the statistics by name, for :func:`load_pixel_transform`."""


@dataclass(frozen=True, eq=False)
class Identity:
    """Prepared values are the pixels."""

    name: ClassVar[str] = "none"

    def forward(self, images: Tensor) -> Tensor:
        """Return ``images``."""
        return images

    def inverse(self, images: Tensor) -> Tensor:
        """Return ``images``."""
        return images

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: there are no statistics."""
        return {}


@dataclass(frozen=True, eq=False)
class Standardise:
    """z = (x - mean) / std, per channel; ``mean`` and ``std`` are float32 [C]."""

    mean: Tensor
    std: Tensor
    name: ClassVar[str] = "normalise"

    def forward(self, images: Tensor) -> Tensor:
        """Return the prepared values of pixels."""
        return (images - _per_channel(self.mean, images)) / _per_channel(self.std, images)

    def inverse(self, images: Tensor) -> Tensor:
        """Return the pixels of prepared values."""
        return images * _per_channel(self.std, images) + _per_channel(self.mean, images)

    def tensors(self) -> dict[str, Tensor]:
        """Return ``mean`` and ``std``."""
        return {"mean": self.mean, "std": self.std}


@dataclass(frozen=True, eq=False)
class Whitening:
    """ZCA: z = (x - mean) matrix, on images flattened to D = C * H * W values.

    ``mean`` is float32 [D], ``matrix`` and its inverse ``inverse_matrix`` are float32 [D, D]; both
    are symmetric.
    """

    mean: Tensor
    matrix: Tensor
    inverse_matrix: Tensor
    name: ClassVar[str] = "zca"

    def forward(self, images: Tensor) -> Tensor:
        """Return the prepared values of pixels."""
        centred = images.flatten(1) - self.mean.to(images)
        return (centred @ self.matrix.to(images)).view_as(images)

    def inverse(self, images: Tensor) -> Tensor:
        """Return the pixels of prepared values."""
        flat = images.flatten(1) @ self.inverse_matrix.to(images)
        return (flat + self.mean.to(images)).view_as(images)

    def tensors(self) -> dict[str, Tensor]:
        """Return ``mean``, ``matrix`` and ``inverse_matrix``."""
        return {
            "mean": self.mean,
            "matrix": self.matrix,
            "inverse_matrix": self.inverse_matrix,
        }


def fit_standardise(images: Tensor) -> Standardise:
    """Return the standardisation by the mean and (population) deviation of each channel.

    ``images`` are pixels [N, C, H, W].

    Raises:
        DataError: if a channel is constant.
    """
    count = images.numel() // images.shape[1]
    mean = _sum(chunk.sum((0, 2, 3)) for chunk in _double(images)) / count
    centre = mean[:, None, None]
    squares = (((chunk - centre) ** 2).sum((0, 2, 3)) for chunk in _double(images))
    std = (_sum(squares) / count).sqrt()
    if not (std > 0).all():
        channel = int((std == 0).nonzero()[0])
        msg = (
            f"channel {channel} of the training images is constant, so it can't be normalised; set "
            "data.preprocessing to none or zca"
        )
        raise DataError(msg)
    return Standardise(mean=mean.float(), std=std.float())


def fit_whitening(
    images: Tensor, epsilon: float, *, dtype: torch.dtype = torch.float32
) -> Whitening:
    """Return the ZCA whitening of ``images``, pixels [N, C, H, W] with N >= 2.

    With X flattened in the order C, H, W, mu its mean over N and
    Sigma = (X - mu)^T (X - mu) / (N - 1) = U diag(s) U^T, the matrix is
    W = U diag((s + epsilon)^(-1/2)) U^T and its inverse U diag((s + epsilon)^(1/2)) U^T
    (kornia's ZCAWhitening as MTT and PDD use it, with epsilon 0.1; specification, section 4).
    It is computed in float64 and kept in ``dtype``.
    """
    count = len(images)
    mean = _sum(chunk.flatten(1).sum(0) for chunk in _double(images)) / count
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=images.device)
    for chunk in _double(images):
        centred = chunk.flatten(1) - mean
        scatter.addmm_(centred.T, centred)
    eigenvalues, vectors = torch.linalg.eigh(scatter / (count - 1))
    scale = (eigenvalues.clamp(min=0) + epsilon).sqrt()
    return Whitening(
        mean=mean.to(dtype),
        matrix=((vectors / scale) @ vectors.T).to(dtype),
        inverse_matrix=((vectors * scale) @ vectors.T).to(dtype),
    )


def fit_pixel_transform(images: Tensor, spec: DataSpec) -> PixelTransform:
    """Return the transform that ``spec`` asks for, fitted on pixels [N, C, H, W].

    Raises:
        DataError: if a channel is constant and is to be normalised.
    """
    if spec.preprocessing == "zca":
        return fit_whitening(images, spec.zca_epsilon)
    return fit_standardise(images) if spec.preprocessing == "normalise" else Identity()


def load_pixel_transform(name: str, tensors: Mapping[str, Tensor]) -> PixelTransform:
    """Return the transform of this ``name`` with these statistics.

    Raises:
        FormatError: if there is no such transform or a statistic is missing.
    """
    kinds: dict[str, type[PixelTransform]] = {
        kind.name: kind for kind in (Identity, Standardise, Whitening)
    }
    if name not in kinds:
        msg = f"unknown preprocessing {name!r}; known are {', '.join(kinds)}"
        raise FormatError(msg)
    try:
        return kinds[name](**tensors)
    except TypeError as error:
        msg = f"preprocessing {name!r} does not have the statistics {sorted(tensors)}"
        raise FormatError(msg) from error


def transform_in_chunks(transform: PixelTransform, images: Tensor) -> None:
    """Replace ``images`` by their prepared values, without a second copy of all of them."""
    for start in range(0, len(images), CHUNK):
        images[start : start + CHUNK] = transform.forward(images[start : start + CHUNK])


def _sum(terms: Iterator[Tensor]) -> Tensor:
    """Return the sum of at least one tensor, added up in order."""
    total = next(terms).clone()
    for term in terms:
        total += term
    return total


def _double(images: Tensor) -> Iterator[Tensor]:
    return (chunk.double() for chunk in images.split(CHUNK))


def _per_channel(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images)[:, None, None]
