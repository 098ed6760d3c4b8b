"""Facts about what the command line loads: neither torch nor Ray unless it computes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("torch", "torchvision", "ray", "numpy", "pandas", "scipy", "matplotlib", "sklearn")
PROGRAM = """\
import json, sys
from pdd_ray.cli.main import main
try:
    main(json.loads(sys.argv[1]))
except SystemExit as end:
    loaded = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
    print(json.dumps({"code": end.code, "loaded": loaded}), file=sys.stderr)
"""


def loaded_by(folder: Path, *arguments: str) -> list[str]:
    """Return which heavy packages a process has loaded after a command."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(arguments), json.dumps(HEAVY)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    end = json.loads(done.stderr.splitlines()[-1])
    assert not end["code"], done.stderr
    return list(end["loaded"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("run", "--help"),
        ("plan", "demo", "--store", "elsewhere"),
        ("plan", "tiny.yaml", "--json"),
        ("status",),
        ("logs", "pdd/seed0/stage2"),
        ("config", "show", "demo"),
        ("config", "schema"),
        ("tb", "--print"),
    ],
)
def test_commands_that_compute_nothing_load_nothing_heavy(folder: Path, arguments: tuple[str, ...]):
    assert loaded_by(folder, *arguments) == []


@pytest.mark.parametrize("arguments", [("table", "tiny"), ("run", "tiny.yaml")])
def test_tables_and_finished_sweeps_load_neither_torch_nor_ray(
    folder: Path, arguments: tuple[str, ...]
):
    assert not {"torch", "ray", "matplotlib"} & set(loaded_by(folder, *arguments))
