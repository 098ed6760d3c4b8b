"""Facts about the kinds of plots: what they draw, what they refuse, and that bytes repeat."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pdd_analysis.plots import KINDS, draw
from pdd_analysis.plots.courses import Curve, training_curves
from pdd_analysis.plots.style import style_of
from pdd_ray.cli.plots import PlotKind
from pdd_ray.core.errors import ConfigError
from pdd_ray.core.records import Record
from tests.analysis.builders import record, sweep

CURVES = [
    Curve("pdd", (0, network), (([5, 10], [0.2, 0.3 + network / 50]), ([5, 10], [0.4, 0.5])))
    for network in range(2)
]


def everything() -> list[Record]:
    """Return results for every kind of plot: modes, totals, all real images, phases, costs."""
    full = record(0.9, mode="full", method="full", variant="full", stages=0, total_stages=0)
    phases = [
        record(0.5 - phase / 10, variant=variant, phase=phase, phases=2, classes=5 * phase)
        for variant in ("a", "b")
        for phase in (1, 2)
    ]
    known = [replace(each, stored_bytes=1000 * each.stages, cost_seconds=60.0) for each in sweep()]
    return [*known, replace(full, stored_bytes=10**6, cost_seconds=2.0), *phases]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["png", "svg"])
def test_every_kind_is_drawn_with_the_same_bytes_every_time(
    tmp_path: Path, kind: str, form: str
) -> None:
    first = draw(kind, everything(), CURVES, tmp_path / f"first.{form}").read_bytes()
    again = draw(kind, everything()[::-1], CURVES, tmp_path / f"again.{form}").read_bytes()
    assert first == again
    if form == "png":
        with Image.open(tmp_path / "first.png") as image:
            assert image.width >= 1000
    else:
        assert first.startswith(b"<?xml")


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_without_results_says_what_is_missing(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigError, match=r"no |there are no"):
        draw(kind, [], [], tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()


def test_the_command_knows_every_kind() -> None:
    assert [kind.value for kind in PlotKind] == list(KINDS)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="png or svg"):
        draw("accuracy", everything(), (), tmp_path / "plot.pdf")


def test_all_real_images_are_a_line_of_their_own(tmp_path: Path) -> None:
    staged = [each for each in everything() if each.mode != "full"]
    without = draw("accuracy", staged, (), tmp_path / "without.svg").read_text()
    drawn = draw("accuracy", everything(), (), tmp_path / "with.svg").read_text()
    assert "all real images" in drawn
    assert "all real images" not in without


def test_one_mode_is_no_comparison_of_modes(tmp_path: Path) -> None:
    alone = [each for each in everything() if each.mode == "progressive"]
    with pytest.raises(ConfigError, match="no two modes"):
        draw("modes", alone, (), tmp_path / "plot.png")


def test_a_curve_that_ends_early_does_not_shorten_the_others(tmp_path: Path) -> None:
    short = Curve("pdd", (1, 0), CURVES[0].stages[:1])
    drawn = training_curves([*CURVES, short], tmp_path / "a.svg").read_text()
    assert "2 networks" in drawn


def test_lines_are_told_apart_without_colour() -> None:
    styles = [style_of(index, "progressive", setting=index) for index in range(24)]
    shapes = {
        (style["marker"], style["linestyle"], style["markerfacecolor"] == "white")
        for style in styles
    }
    assert len(shapes) == len(styles)


def test_modes_of_one_setting_share_its_colour_and_nothing_else() -> None:
    modes = ("progressive", "union", "sequential")
    styles = [style_of(index, mode, setting=1) for index, mode in enumerate(modes)]
    assert len({style["color"] for style in styles}) == 1
    assert len({style["marker"] for style in styles}) == len(modes)
    assert len({style["linestyle"] for style in styles}) == len(modes)


@pytest.mark.parametrize("kind", ["accuracy", "cost"])
def test_all_real_images_are_shown_once_for_all_variants_that_share_them(
    tmp_path: Path, kind: str
) -> None:
    records = everything()
    (full,) = (each for each in records if each.mode == "full")
    shared = [replace(full, variant=variant) for variant in ("mtt", "pdd")]
    others = [each for each in records if each.mode != "full"]
    drawn = draw(kind, [*others, *shared], (), tmp_path / "shared.svg").read_text()
    assert drawn.count("<!-- all real images -->") == 1


def test_each_data_set_of_all_real_images_has_dashes_of_its_own(tmp_path: Path) -> None:
    records = everything()
    (full,) = (each for each in records if each.mode == "full")
    other = replace(full, dataset="other", key="other", test_accuracy=0.7)
    drawn = draw("accuracy", [*records, other], (), tmp_path / "two.svg").read_text()
    dashes = {
        part.split(";")[0]
        for part in drawn.split("stroke-dasharray: ")[1:]
        if "stroke: #555555" in part[:120]
    }
    assert len(dashes) == 2


@pytest.mark.parametrize("kind", ["accuracy", "stages", "modes", "cost", "continual"])
def test_the_protocol_of_the_original_codes_is_named_in_the_plot(tmp_path: Path, kind: str) -> None:
    chosen = [replace(each, protocol="reference") for each in everything()]
    drawn = draw(kind, chosen, (), tmp_path / "reference.svg").read_text()
    assert "protocol reference: chosen on the test split" in drawn
    usual = draw(kind, everything(), (), tmp_path / "usual.svg").read_text()
    assert "protocol reference" not in usual
