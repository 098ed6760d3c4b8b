"""Facts about the checks of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdd_ray.api import machine

if TYPE_CHECKING:
    from pathlib import Path


def test_a_store_that_can_not_be_used_is_a_failure(tmp_path: Path):
    (tmp_path / "file").touch()
    (finding,) = machine._store(tmp_path / "file")
    assert (finding.level, finding.subject) == ("fail", "store")
