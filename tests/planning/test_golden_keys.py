"""Keys are a promise: what users have in their stores is found again by every later version."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planning.golden_keys import FILE, TABLE, current_keys

ROOT = Path(__file__).parents[2]
ADVICE = """
Keys have changed: results that users already have would be made again. There are three cases.
1. It was not meant (a default, a field or a label of an input changed its value or its place):
   undo that. A new setting must not be part of the configuration of a step where it is at its
   default.
2. The results of an operation really change: raise its `revision` in pdd_ray/core/operations.py,
   say so in CHANGELOG.md, and write the keys anew: python -m tests.planning.golden_keys
3. FORMAT_VERSION was raised. That orphans every store; docs/stability.md says when it may be.
"""


@pytest.fixture(scope="module")
def current():
    return current_keys()


@pytest.mark.parametrize("part", ["demo", TABLE])
def test_the_keys_are_those_of_earlier_versions(part, current):
    promised = json.loads(FILE.read_text(encoding="utf-8"))
    assert current[part] == promised[part], ADVICE


def test_moving_and_renaming_a_module_changes_no_key(tmp_path):
    copy = tmp_path / "moved"
    for folder in ("pdd_ray", "analysis", "sweeps", "tests/planning"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    (copy / "tests/__init__.py").touch()
    old, new = copy / "pdd_ray/training/evaluation.py", copy / "pdd_ray/methods/judging.py"
    old.rename(new)
    table = copy / "pdd_ray/core/operations.py"
    text = table.read_text(encoding="utf-8")
    assert text.count("pdd_ray.training.evaluation:") == 4
    table.write_text(
        text.replace("pdd_ray.training.evaluation:", "pdd_ray.methods.judging:"), encoding="utf-8"
    )
    program = (
        "import json\n"
        "from tests.planning.golden_keys import current_keys\n"
        "from pdd_ray.core.operations import EVALUATION\n"
        "print(json.dumps([EVALUATION.function, current_keys()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=copy, capture_output=True, text=True, check=True
    )
    function, keys = json.loads(done.stdout)
    assert function == "pdd_ray.methods.judging:run"
    assert keys == json.loads(FILE.read_text(encoding="utf-8"))
