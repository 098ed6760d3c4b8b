"""Facts about `config describe`: keys of sweeps with their defaults and meaning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pdd_ray
from tests.cli.test_startup import loaded_by

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended


def test_the_keys_below_a_key_are_shown_with_default_allowed_values_and_meaning(
    cli: Callable[..., Ended],
):
    lines = cli("config", "describe", "experts").out.splitlines()
    assert lines[0].startswith("Training on real data")
    place = lines.index("count: 100")
    assert lines[place + 1 : place + 3] == [
        "    integer ≥ 1",
        "    Number of experts, each a chain of starts through all stages.",
    ]


def test_without_a_key_those_at_the_top_are_shown(cli: Callable[..., Ended]):
    lines = cli("config", "describe").out.splitlines()
    assert {"name: required", "seeds: [0]", "method: {name: mtt}"} <= set(lines)


def test_a_key_of_several_kinds_says_how_to_ask_for_one(cli: Callable[..., Ended]):
    lines = cli("config", "describe", "model").out.splitlines()
    assert lines[-1] == "Keys of one: pdd-ray config describe model.NAME"
    assert any(line.startswith("resnet ") for line in lines)


def test_json_has_what_the_function_returns(cli: Callable[..., Ended]):
    shown = json.loads(cli("config", "describe", "method.dm", "--json").out)
    found = pdd_ray.describe("method.dm")
    assert (shown["schema"], shown["key"]) == ("pdd-ray/keys/1", "method.dm")
    assert [key["name"] for key in shown["keys"]] == [key.name for key in found.keys]


def test_an_unknown_key_ends_with_what_was_meant(cli: Callable[..., Ended]):
    ended = cli("config", "describe", "method.mt")
    assert ended.code == 2
    assert "did you mean 'method.mtt'?" in ended.err


def test_describing_loads_nothing_heavy(folder: Path):
    assert loaded_by(folder, "config describe method") == {"config describe method": []}
