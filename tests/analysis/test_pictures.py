"""Facts about plots and about pictures of distilled images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pdd_analysis.images import stage_grid
from pdd_analysis.plots import accuracy_per_stage
from pdd_ray.core.errors import ConfigError, StoreError
from tests.analysis.builders import record, sweep


def write_grid(path: Path, rows: int, columns: int, size: int) -> np.ndarray:
    """Write a grid of noise as a stage does, and return its pixels."""
    pixels = np.random.default_rng(rows).integers(
        0, 255, (rows * size, columns * size, 3), dtype=np.uint8
    )
    Image.fromarray(pixels).save(path)
    return pixels


def test_a_plot_is_a_png_of_readable_size(tmp_path: Path) -> None:
    path = accuracy_per_stage(sweep(), tmp_path / "plots" / "stages.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width >= 1000
        assert image.height >= 600
        colours = image.convert("RGB").getcolors(maxcolors=1 << 20) or []
    assert len(colours) > 10


def test_plots_do_not_depend_on_the_order_of_records(tmp_path: Path) -> None:
    first = accuracy_per_stage(sweep(), tmp_path / "a.png").read_bytes()
    assert accuracy_per_stage(sweep()[::-1], tmp_path / "b.png").read_bytes() == first


@pytest.mark.parametrize("variants", [1, 9])
def test_one_stage_and_many_variants_can_be_plotted(tmp_path: Path, variants: int) -> None:
    records = [record(variant=f"v{index}", stages=1, total_stages=1) for index in range(variants)]
    assert accuracy_per_stage(records, tmp_path / "plot.png").is_file()


def test_a_plot_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no finished evaluations"):
        accuracy_per_stage([], tmp_path / "plot.png")


@pytest.mark.parametrize(("size", "factor"), [(8, 6), (64, 1)])
def test_stages_are_put_side_by_side_enlarged_without_smoothing(
    tmp_path: Path, size: int, factor: int
) -> None:
    grids = [write_grid(tmp_path / f"{stage}.png", 10, stage, size) for stage in (1, 3)]
    path = stage_grid([tmp_path / "1.png", tmp_path / "3.png"], tmp_path / "all.png", ["1", "2"])
    with Image.open(path) as image:
        pixels = np.asarray(image)
    for grid in grids:
        enlarged = grid.repeat(factor, axis=0).repeat(factor, axis=1)
        height, width = enlarged.shape[:2]
        assert height >= 480
        corners = np.argwhere((pixels[:-height, :-width] == enlarged[0, 0]).all(axis=-1))
        assert any(
            np.array_equal(pixels[top : top + height, left : left + width], enlarged)
            for top, left in corners
        )


def test_long_titles_and_class_names_are_not_cut(tmp_path: Path) -> None:
    write_grid(tmp_path / "1.png", 2, 1, 8)
    sizes = []
    for title, names in (
        ("a", ("a", "b")),
        ("a long title " * 5, ("a", "b")),
        ("a", ("a" * 40, "b")),
    ):
        path = stage_grid([tmp_path / "1.png"], tmp_path / "all.png", [title], class_names=names)
        with Image.open(path) as image:
            sizes.append(image.width)
            edge = np.asarray(image)[:, -10:]
        assert (edge == 255).all()
    assert sizes[0] < sizes[1]
    assert sizes[0] < sizes[2]


def test_many_classes_leave_room_for_their_names(tmp_path: Path) -> None:
    write_grid(tmp_path / "1.png", 100, 1, 8)
    names = [f"class {index}" for index in range(100)]
    path = stage_grid([tmp_path / "1.png"], tmp_path / "all.png", ["1"], class_names=names)
    with Image.open(path) as image:
        assert image.height >= 100 * 20


def test_grey_grids_are_shown_too(tmp_path: Path) -> None:
    Image.new("L", (8, 80), 128).save(tmp_path / "1.png")
    path = stage_grid([tmp_path / "1.png"], tmp_path / "all.png", ["stage 1"])
    with Image.open(path) as image:
        assert (128, 128, 128) in [colour for _, colour in image.getcolors(1 << 20) or []]


def test_missing_damaged_and_untitled_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be read"):
        stage_grid([tmp_path / "1.png"], tmp_path / "all.png", ["1"])
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(StoreError, match="can't be read"):
        stage_grid([tmp_path / "1.png"], tmp_path / "all.png", ["1"])
    with pytest.raises(ConfigError, match="got 1 images and 0 titles"):
        stage_grid([tmp_path / "1.png"], tmp_path / "all.png", [])


def test_chosen_classes_are_the_same_pixels_in_the_same_order(tmp_path: Path) -> None:
    Image.new("RGB", (9, 4 * 9 + 1)).save(tmp_path / "1.png")
    with Image.open(tmp_path / "1.png") as image:
        for row, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)]):
            image.paste(colour, (1, row * 9 + 1, 9, row * 9 + 9))
        image.save(tmp_path / "1.png")
    path = stage_grid(
        [tmp_path / "1.png"], tmp_path / "all.png", ["1"], class_names="abcd", classes=[2, 0]
    )
    with Image.open(path) as image:
        column = np.asarray(image.convert("RGB"))[:, image.width - 20]
    found = [tuple(pixel) for pixel in column if tuple(pixel) in {(0, 0, 255), (255, 0, 0)}]
    assert found[0] == (0, 0, 255)
    assert found[-1] == (255, 0, 0)
    assert (0, 255, 0) not in {tuple(pixel) for pixel in column}
