"""Facts about the folder of links that limits TensorBoard to the runs of a sweep."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tensorboard.backend.event_processing.io_wrapper import GetLogdirSubdirectories

from pdd_ray.core.store import Store
from pdd_ray.results.saved_sweeps import find_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ended


def runs(folder: Path) -> list[str]:
    """Return the runs that TensorBoard finds in ``folder``, without the ends of their keys."""
    found = (Path(path) for path in GetLogdirSubdirectories(str(folder)))
    return sorted(path.name.rpartition("-")[0] for path in found)


def logdir(command: str) -> Path:
    words = shlex.split(command)
    return Path(words[words.index("--logdir") + 1])


def test_the_runs_of_a_sweep_are_its_stages_and_selections(folder: Path, cli: Callable[..., Ended]):
    other = folder / "store/tb/other.seed0.stage1-00000000"
    shutil.copytree(next((folder / "store/tb").iterdir()), other)
    found = logdir(cli("tb", "tiny", "--print").out)
    assert found == folder / "store/sweeps/tiny/tb"
    assert runs(found) == ["pdd.seed0.stage1", "pdd.seed0.stage2", "random.seed0.stage1"]
    assert "other.seed0.stage1" in runs(logdir(cli("tb", "--print").out))


def test_a_run_that_begins_later_is_found_under_its_link(folder: Path, cli: Callable[..., Ended]):
    written, away = folder / "store/tb", folder / "away"
    written.rename(away)
    found = logdir(cli("tb", "tiny", "--print").out)
    assert runs(found) == []
    away.rename(written)
    assert len(runs(found)) == 3


def test_a_run_that_another_sweep_has_made_keeps_that_name(folder: Path, cli: Callable[..., Ended]):
    end = find_step("pdd/seed0/stage1", Store(folder / "store")).key[-8:]
    tb = folder / "store/tb"
    (tb / f"pdd.seed0.stage1-{end}").rename(tb / f"first.seed0.stage1-{end}")
    found = logdir(cli("tb", "tiny", "--print").out)
    assert runs(found) == ["first.seed0.stage1", "pdd.seed0.stage2", "random.seed0.stage1"]


def test_links_of_runs_that_no_longer_belong_to_the_sweep_are_removed(
    folder: Path, cli: Callable[..., Ended]
):
    found = logdir(cli("tb", "tiny", "--print").out)
    (found / "old-00000000").symlink_to(folder)
    before = {link.name: link.lstat().st_ino for link in found.glob("[pr]*")}
    cli("tb", "tiny", "--print")
    assert {link.name: link.lstat().st_ino for link in found.iterdir()} == before
    assert len(before) == 3


def test_a_sweep_that_was_not_run_has_no_runs(folder: Path, cli: Callable[..., Ended]):
    ended = cli("tb", "demo", "--print")
    assert ended.code == 2
    assert ended.err.startswith("error: the sweep 'demo' was not run on the store")
