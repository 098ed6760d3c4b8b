"""Facts about the command that writes the page."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from pdd_ray.cli import report

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pdd_ray.core.store import Store

PROGRAM = """\
import sys
from pathlib import Path
from pdd_ray.cli.report import report
report("tiny", Path("store"))
print([name for name in ("torch", "ray") if name in sys.modules])
"""


def test_the_path_of_the_page_goes_to_stdout(store: Store, capsys: pytest.CaptureFixture[str]):
    report.report("tiny", store.root)
    path = store.sweep_folder("tiny") / "report.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert path.is_file()


def test_the_page_is_opened_if_that_is_asked_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    report.report("tiny", store.root, tmp_path / "a page.html", open_it=True)
    assert opened == [(tmp_path / "a page.html").as_uri()]


def test_without_a_browser_it_says_which_file_to_open(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("webbrowser.open", lambda _url: False)
    report.report("tiny", store.root, open_it=True)
    assert "report.html yourself" in capsys.readouterr().err


def test_it_loads_neither_torch_nor_ray(folder: Path):
    program = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
