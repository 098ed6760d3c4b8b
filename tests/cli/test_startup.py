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
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        loaded = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
        print(json.dumps({"command": arguments, "code": end.code or 0, "loaded": loaded}),
              file=sys.stderr)
"""


def loaded_by(folder: Path, *commands: str) -> dict[str, list[str]]:
    """Return which heavy packages a fresh process has loaded after each of ``commands``."""
    split = json.dumps([command.split() for command in commands])
    program = [sys.executable, "-c", PROGRAM, split, json.dumps(HEAVY)]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=True)
    ends = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [end["code"] for end in ends] == [0] * len(commands), done.stderr
    return {" ".join(end["command"]): end["loaded"] for end in ends}


def test_commands_that_compute_nothing_load_nothing_heavy(folder: Path):
    commands = (
        "--help",
        "run --help",
        "plan demo --store elsewhere",
        "plan tiny.yaml --json",
        "status",
        "logs pdd/seed0/stage2",
        "config show demo",
        "config schema",
        "tb --print",
    )
    assert loaded_by(folder, *commands) == {command: [] for command in commands}


@pytest.mark.parametrize("command", ["table tiny", "run tiny.yaml"])
def test_tables_and_finished_sweeps_load_neither_torch_nor_ray(folder: Path, command: str):
    assert not {"torch", "ray", "matplotlib"} & set(loaded_by(folder, command)[command])


def test_help_loads_no_configuration(folder: Path):
    program = "import sys, pdd_ray.cli.main; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"
