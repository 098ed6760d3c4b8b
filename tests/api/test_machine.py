"""Facts about the checks of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pdd_ray.api import machine

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_doctor_warns_of_a_gpu_that_torch_does_not_see(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "_nvidia_gpus", lambda: ["A100, 40960 MiB"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (finding,) = machine._gpus()
    assert str(finding).startswith("warn  gpus       A100, 40960 MiB, but torch does not see them")


def test_a_gpu_is_found_by_the_program_of_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'A100, 40960 MiB'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert machine._nvidia_gpus() == ["A100, 40960 MiB"]
    program.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    assert machine._nvidia_gpus() == []


def test_a_store_that_can_not_be_used_is_a_failure(tmp_path: Path):
    (tmp_path / "file").touch()
    (finding,) = machine._store(tmp_path / "file")
    assert (finding.level, finding.subject) == ("fail", "store")
