"""Pictures of distilled images: the grids of several stages side by side, with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.core.errors import ConfigError, StoreError
from pdd_ray.core.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

LEAST_HEIGHT = 480
"""Grids are enlarged by a whole factor until they are at least this high, in pixels."""
LEAST_ROW_HEIGHT = 20
"""The same for one class, so that its name fits beside it."""
MARGIN = 14
FONT_SIZE = 16
INK = (20, 20, 20)
PAPER = (255, 255, 255)


def stage_grid(
    stage_images: Sequence[Path],
    path: Path,
    titles: Sequence[str],
    *,
    class_names: Sequence[str] = (),
    classes: Sequence[int] = (),
) -> Path:
    """Put the grids of several stages side by side into one picture, and return ``path``.

    Pixels are enlarged by one whole factor, the same for all stages, without smoothing and
    without any change of colour.

    Args:
        stage_images: The ``images.png`` of each stage: one row per class.
        path: The PNG to write.
        titles: One title per stage, shown above its grid.
        class_names: Names shown beside the rows; the grids are taken to have as many equal rows.
        classes: Indices of the rows to show; all if not given.

    Raises:
        ConfigError: if there are no images, or not one title for each.
        StoreError: if an image can't be read.
    """
    if not stage_images or len(titles) != len(stage_images):
        msg = (
            f"a picture of stages needs one title per stage, and at least one stage: got "
            f"{len(stage_images)} images and {len(titles)} titles"
        )
        raise ConfigError(msg)
    grids = [_read(image) for image in stage_images]
    if classes and len(classes) < len(class_names):
        grids = [_only_rows(grid, classes, len(class_names)) for grid in grids]
        class_names = [class_names[index] for index in classes]
    grids = _enlarged(grids, len(class_names))
    picture = _compose(grids, titles, class_names)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))
    return path


def _read(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        msg = f"the picture {path} can't be read ({error}); run the stage again to write it"
        raise StoreError(msg) from error


def _only_rows(grid: Image, chosen: Sequence[int], count: int) -> Image:
    """Return the rows ``chosen`` of a grid of ``count`` equal rows, with the lines between them."""
    from PIL import Image

    line = grid.height % count  # the line below the last row
    pitch = (grid.height - line) // count
    picture = Image.new("RGB", (grid.width, pitch * len(chosen) + line))
    for place, index in enumerate(chosen):
        rows = grid.crop((0, index * pitch, grid.width, (index + 1) * pitch + line))
        picture.paste(rows, (0, place * pitch))
    return picture


def _enlarged(grids: Sequence[Image], num_classes: int) -> list[Image]:
    from PIL.Image import Resampling

    height = max(grid.height for grid in grids)
    least = max(LEAST_HEIGHT, LEAST_ROW_HEIGHT * num_classes)
    factor = max(1, -(-least // height))
    return [
        grid.resize((grid.width * factor, grid.height * factor), Resampling.NEAREST)
        for grid in grids
    ]


def _compose(grids: Sequence[Image], titles: Sequence[str], class_names: Sequence[str]) -> Image:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(FONT_SIZE)
    names = max((round(font.getlength(name)) for name in class_names), default=-MARGIN)
    widths = [
        max(grid.width, round(font.getlength(title)))
        for grid, title in zip(grids, titles, strict=True)
    ]
    top = 2 * MARGIN + FONT_SIZE
    height = top + max(grid.height for grid in grids) + MARGIN
    left = names + 2 * MARGIN
    picture = Image.new("RGB", (left + sum(widths) + MARGIN * len(grids), height), PAPER)
    draw = ImageDraw.Draw(picture)
    _write_names(draw, class_names, font, names + MARGIN, top, grids[0].height)
    for grid, title, width in zip(grids, titles, widths, strict=True):
        draw.text((left, MARGIN), title, fill=INK, font=font)
        picture.paste(grid, (left, top))
        left += width + MARGIN
    return picture


def _write_names(
    draw: ImageDraw,
    names: Sequence[str],
    font: FreeTypeFont | ImageFont,
    right: int,
    top: int,
    height: int,
) -> None:
    for index, name in enumerate(names):
        middle = top + height * (index + 0.5) / len(names)
        draw.text((right, middle), name, fill=INK, font=font, anchor="rm")
