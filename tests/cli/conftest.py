"""A tiny sweep that was run once, and a way to call the command line."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pdd_ray.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TINY = """\
name: tiny
description: Two stages of one image per class.
data: {source: digits}
model: {width: 4, depth: 2}
experts: {count: 1, epochs: 2, augmentation: none}
transition: {epochs: 1, augmentation: none}
method:
  iterations: 2
  inner_steps: 2
  expert_epochs: 1
  max_start_epoch: 2
  image_learning_rate: 10
  augmentation: none
  selection: {every: 2, networks: 1, epochs: 1, augmentation: none}
stages: {count: 2, images_per_class: 1}
evaluation: {networks: 1, epochs: 2, augmentation: none, prefixes: all}
variants:
  random: {method.name: random, stages: {count: 1, images_per_class: 2}}
  pdd:
table: {rows: [variant, stages]}
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Call the command line in this process."""

    def call(*arguments: str | Path) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return Ended(int(caught.value.code or 0), written.out, written.err)

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.yaml and `store`, on which it was run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["run", str(folder / "tiny.yaml"), "--serial", "--store", str(folder / "store")])
    assert not caught.value.code
    return folder


@pytest.fixture
def folder(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished folder to change, as the current folder."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("PDD_RAY_STORE", "store")
    return copy


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny.yaml and nothing else, as the current folder."""
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PDD_RAY_STORE", raising=False)
    return tmp_path
