"""Shifted reading of images: pixels at whole positions that differ from image to image."""

from torch import Tensor


def pixels_at(images: Tensor, rows: Tensor, cols: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``out[n, c, i, j] = images[n, c, rows[n, i], cols[n, j]]``, and where that is inside.

    Args:
        images: [N, C, H, W].
        rows: int64 [N, R].
        cols: int64 [N, S].

    Returns:
        The pixels [N, C, R, S], those outside replaced by the nearest inside, and bool
        [N, 1, R, S].
    """
    channels, height, width = images.shape[1:]
    inside = _inside(rows, height)[:, None, :, None] & _inside(cols, width)[:, None, None, :]
    near_rows, near_cols = rows.clamp(0, height - 1), cols.clamp(0, width - 1)
    source = (near_rows[:, :, None] * width + near_cols[:, None, :]).flatten(1)
    pixels = images.flatten(2).gather(2, source[:, None].expand(-1, channels, -1))
    return pixels.unflatten(2, (rows.shape[1], cols.shape[1])), inside


def _inside(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)
