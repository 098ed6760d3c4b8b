"""Facts about the parts of a report that are pure functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from pdd_ray.results.report.budget import Budget
from pdd_ray.results.report.logs import plain, read_log
from pdd_ray.results.report.settings import differing, setting_title, shown
from pdd_ray.results.report.sparkline import HEIGHT, MARGIN, MOST_POINTS, WIDTH, sparkline

if TYPE_CHECKING:
    from pathlib import Path


# --- logs ----------------------------------------------------------------------------------------


def test_the_end_of_a_log_is_shown_and_said_to_be_its_end(tmp_path: Path):
    path = tmp_path / "a.log"
    path.write_text("".join(f"line {number}\n" for number in range(10)), encoding="utf-8")
    log = read_log(path, lines=3)
    assert log is not None
    assert (log.text, log.lines, log.whole) == ("line 7\nline 8\nline 9", 3, False)
    whole = read_log(path)
    assert whole is not None
    assert whole.whole
    assert whole.lines == 10


def test_a_long_log_is_read_from_its_end_without_a_part_of_a_line(tmp_path: Path):
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * 99 + b"\n" + b"short\n" * 4 + b"last \xff\n")
    log = read_log(path, size=50)
    assert log is not None
    assert log.text.splitlines() == ["short"] * 4 + ["last \ufffd"]
    assert not log.whole


def test_a_missing_log_is_none(tmp_path: Path):
    assert read_log(tmp_path / "a.log") is None


def test_terminal_sequences_and_control_characters_are_left_out():
    assert plain("\x1b[31mred\x1b[0m\a\ttab\x00 \x1b]0;title\x07end") == "red\ttab end"


# --- sparklines ----------------------------------------------------------------------------------


def points(text: str) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in text.split()]
    return [(float(x), float(y)) for x, y in pairs]


def test_a_curve_fills_its_box_and_large_values_are_above():
    line = sparkline("loss", [2.0, 1.0, 4.0])
    assert line is not None
    assert points(line.points) == [
        (MARGIN, pytest.approx(MARGIN + (HEIGHT - 2 * MARGIN) * 2 / 3, abs=0.05)),
        (WIDTH / 2, HEIGHT - MARGIN),
        (WIDTH - MARGIN, MARGIN),
    ]
    assert (line.first, line.last, line.low, line.high, line.count) == (2.0, 4.0, 1.0, 4.0, 3)


def test_values_that_are_no_numbers_are_left_out():
    line = sparkline("loss", [None, 1.0, math.nan, 3.0, math.inf])
    assert line is not None
    assert (line.count, line.low, line.high) == (2, 1.0, 3.0)
    assert sparkline("loss", [math.nan, None]) is None
    assert sparkline("loss", []) is None


def test_a_constant_curve_and_a_single_value_can_be_drawn():
    for values in ([5.0, 5.0], [5.0]):
        line = sparkline("loss", values)
        assert line is not None
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points(line.points))


def test_a_long_curve_is_thinned_out_without_losing_spikes():
    values = [math.sin(index / 50) for index in range(10_001)]
    values[4321] = 9.0
    values[7777] = -9.0
    line = sparkline("loss", values)
    assert line is not None
    drawn = points(line.points)
    assert len(drawn) <= MOST_POINTS + 2
    assert drawn == sorted(drawn, key=lambda point: point[0])
    assert {min(y for _, y in drawn), max(y for _, y in drawn)} == {MARGIN, HEIGHT - MARGIN}
    assert (drawn[0][0], drawn[-1][0]) == (MARGIN, WIDTH - MARGIN)


# --- settings ------------------------------------------------------------------------------------


def test_settings_differ_if_a_value_does_or_is_missing():
    first = {"same": 1, "other": 1, "only": True, "kind": 1}
    assert differing([first, {"same": 1, "other": 2, "kind": True}]) == ["other", "only", "kind"]
    assert differing([first]) == []


def test_settings_are_shown_as_text():
    assert shown("dsa") == "dsa"
    assert shown([{"images": 2}] * 5) == '5 times {"images": 2}'
    assert shown([1, 2]) == "[1, 2]"
    assert shown(None) == "null"
    assert shown(1e-5) == "1e-05"


def test_a_setting_is_called_by_its_variant_and_its_point_of_the_grid():
    axes = {"stages": {"count": 2}, "method.name": "dm", "model.width": 8}
    title = 'pdd, stages = {"count": 2}, method.name = dm, model.width = 8'
    assert setting_title("pdd", axes) == title
    assert setting_title("base", {}) == "base"


# --- others --------------------------------------------------------------------------------------


def test_what_does_not_fit_a_budget_is_counted():
    budget = Budget(10)
    assert [budget.take(size) for size in (6, 5, 4, 1)] == [True, False, True, False]
    assert budget.left_out == 2


# --- what steps ran on ---------------------------------------------------------------------------
