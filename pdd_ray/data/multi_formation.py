"""Multi-formation: one stored image holds several images to train on (IDC; Kim et al. 2022).

Letters: N stored images of C channels, H rows and W columns, factor f. Formulas: specification of
other methods, section 3.1. Stored images hold pixels in [0, 1]; decoding comes before preparation.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 0.5
"""Value of the rows and columns that are added where f does not divide the size."""


def decode(images: Tensor, factor: int) -> Tensor:
    """Return the f^2 parts of ``images`` [N, C, H, W], enlarged to [N * f^2, C, H, W].

    Parts are ordered by place, row by row: the first part of all images, then the second of all.
    They are enlarged bilinearly, corners not aligned; differentiable in the images.
    """
    if factor == 1:
        return images
    height, width = images.shape[2:]
    padded = F.pad(images, (0, -width % factor, 0, -height % factor), value=PADDING)
    parts = padded.unflatten(3, (factor, -1)).unflatten(2, (factor, -1)).permute(2, 4, 0, 1, 3, 5)
    rows, cols = (
        _enlargement_on(images.device, images.dtype, part, whole)
        for part, whole in zip(parts.shape[4:], (height, width), strict=True)
    )
    decoded: Tensor = rows @ parts.flatten(0, 2) @ cols.T
    return decoded


def decode_labels(labels: Tensor, factor: int) -> Tensor:
    """Return the labels [N * f^2] of what :func:`decode` makes of images with ``labels`` [N].

    The first dimension is the one of images; labels may have more dimensions (probabilities).
    """
    return labels.repeat(factor**2, *(1 for _ in labels.shape[1:]))


def decode_multi(images: Tensor, labels: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the images decoded with the factors 1 .. f, one after the other, and their labels."""
    factors = range(1, factor + 1)
    return (
        torch.cat([decode(images, each) for each in factors]),
        torch.cat([decode_labels(labels, each) for each in factors]),
    )


def decode_bound(images: Tensor, labels: Tensor, factor: int, bound: int) -> tuple[Tensor, Tensor]:
    """Return decoded images, at most ``bound`` if there are not more stored ones, and their labels.

    The factors f, f - 1, .. 2 each take as many of the next images as there is room for, after one
    place was set aside for every image that is left; the rest stay as they are.
    """
    factors = range(factor, 0, -1)
    counts = _counts_within(len(images), factor, bound)
    return (
        torch.cat([decode(*each) for each in zip(images.split(counts), factors, strict=True)]),
        torch.cat(
            [decode_labels(*each) for each in zip(labels.split(counts), factors, strict=True)]
        ),
    )


def mix_initial(images: Tensor, factor: int, count: int) -> Tensor:
    """Return ``count`` stored images made of count * f^2 real ones of a class.

    Args:
        images: [count * f^2, C, H, W]. Every ``count`` consecutive ones fill the next place, row by
            row; they are reduced to it by taking nearest pixels.
        factor: f.
        count: images to make.

    Returns:
        [count, C, H, W], all values copied; the images themselves for factor 1.

    Raises:
        ValueError: not count * f^2 images were given.
    """
    if len(images) != count * factor**2:
        msg = (
            f"got {len(images)} images; {count} mixed ones of factor {factor} take "
            f"{count * factor**2}"
        )
        raise ValueError(msg)
    if factor == 1:
        return images
    groups = images.unflatten(0, (factor**2, count))
    place_rows, rows = _places(images.shape[2], factor, images.device)
    place_cols, cols = _places(images.shape[3], factor, images.device)
    group = place_rows[:, None] * factor + place_cols
    mixed: Tensor = groups[group, :, :, rows[:, None], cols]  # [H, W, count, C]
    return mixed.permute(2, 3, 0, 1).contiguous()


@lru_cache(maxsize=16)
def _enlargement_on(device: torch.device, dtype: torch.dtype, part: int, whole: int) -> Tensor:
    """Return what :func:`_enlargement` gives on a device; copying it there would be waited for."""
    return _enlargement(part, whole).to(device, dtype)


def _enlargement(part: int, whole: int) -> Tensor:
    """Return the bilinear weights, float64 [whole, part], that enlarge one axis.

    A matrix, because on a GPU the gradient of ``F.interpolate`` differs from run to run, and
    because its float32 weights are less exact.
    """
    position = torch.arange(whole, dtype=torch.float64)
    source = ((position + 0.5) * part / whole - 0.5).clamp_min(0)
    low = source.floor().long()
    weights = torch.zeros(whole, part, dtype=torch.float64)
    weights[position.long(), low] = 1 - (source - low)
    weights[position.long(), (low + 1).clamp_max(part - 1)] += source - low
    return weights


def _counts_within(count: int, factor: int, bound: int) -> list[int]:
    """Return how many of ``count`` images are decoded with each of the factors f, f - 1, .. 1."""
    counts = []
    decoded = 0
    for each in range(factor, 1, -1):
        room = max(0, bound - decoded - count)
        counts.append(min(room // each**2, count))
        decoded += counts[-1] * each**2
        count -= counts[-1]
    return [*counts, count]


def _places(size: int, factor: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return for each of ``size`` positions its place 0 .. f - 1, and the source in an image.

    The first ``size % f`` places are one pixel larger than the others.
    """
    lengths = torch.tensor([len(part) for part in torch.arange(size).tensor_split(factor)])
    place = torch.arange(factor).repeat_interleave(lengths)
    first = lengths.cumsum(0) - lengths
    source = (torch.arange(size) - first[place]) * size // lengths[place]
    return place.to(device), source.to(device)
