"""Facts about the commands that read a store."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pdd_ray import __version__
from pdd_ray.cli import doctor, tensorboard
from pdd_ray.configuration.load import load_sweep
from pdd_ray.core.store import Store
from pdd_ray.results.saved_sweeps import StepState, find_step, read_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ended


def test_the_version_is_shown(cli: Callable[..., Ended]):
    assert cli("--version").out == f"pdd-ray {__version__}\n"


# --- status and logs -----------------------------------------------------------------------------


def test_status_counts_steps_by_kind_and_state(folder: Path, cli: Callable[..., Ended]):
    lines = cli("status").out.splitlines()
    assert lines[0].split() == ["tiny", "done", "started", "failed", "blocked", "to", "do"]
    assert [line.split()[0] for line in lines[1:]] == [
        "data",
        "start",
        "expert",
        "stage",
        "coreset",
        "evaluation",
        "all",
    ]
    assert lines[-1].split() == ["all", "11", "-", "-", "-", "-"]


def test_status_reads_states_from_the_store(folder: Path, cli: Callable[..., Ended]):
    store = Store(folder / "store")
    failed = find_step("pdd/seed0/stage1", store).key
    steps = read_status("tiny", store).steps
    for step in steps:
        if step.label.startswith("pdd"):
            store.set_aside(step.key)
    store.record_failure(failed, "NonFiniteLossError: the loss is nan")
    expert = find_step("pdd/seed0/stage1/expert0", store).key
    (store.partial(expert) / "state").touch()
    found = read_status("tiny", store).states
    states = {step.label: found[step.key] for step in steps}
    assert states["pdd/seed0/stage1/expert0"] is StepState.STARTED
    assert states["pdd/seed0/stage1"] is StepState.FAILED
    assert states["pdd/seed0/stage2"] is StepState.BLOCKED
    assert states["random/seed0/stage1"] is StepState.DONE
    report = json.loads(cli("status", "tiny", "--json").out)
    assert report["schema"] == "pdd-ray/status/1"
    (sweep,) = report["sweeps"]
    assert sweep["steps"]["failed"] == 1
    assert sweep["failures"] == [
        {
            "key": failed,
            "label": "pdd/seed0/stage1",
            "message": "NonFiniteLossError: the loss is nan",
        }
    ]


def test_status_of_a_sweep_that_was_not_run_names_those_that_were(
    folder: Path, cli: Callable[..., Ended]
):
    ended = cli("status", "demo")
    assert ended.code == 2
    assert ended.err.startswith("error: the sweep 'demo' was not run on the store ")
    assert ended.err.endswith("there is: tiny\n")


def test_a_file_stands_for_the_sweep_that_it_names(folder: Path, cli: Callable[..., Ended]):
    assert cli("status", "tiny.yaml").out == cli("status", "tiny").out


@pytest.mark.parametrize("shorten", [lambda key: key, lambda key: key[:-4], lambda key: key[6:14]])
def test_a_step_is_found_by_its_key_or_the_beginning_of_it(
    folder: Path, cli: Callable[..., Ended], shorten: Callable[[str], str]
):
    key = find_step("pdd/seed0/stage2", Store(folder / "store")).key
    assert key in cli("logs", shorten(key)).out


def test_a_label_that_begins_others_is_the_step_itself(folder: Path, cli: Callable[..., Ended]):
    assert "pdd/seed0/stage2 is done in" in cli("logs", "pdd/seed0/stage2").out


def test_an_ambiguous_step_lists_what_it_could_be(folder: Path, cli: Callable[..., Ended]):
    ended = cli("logs", "stage-")
    assert ended.code == 2
    assert "'stage-' is the beginning of 2 steps" in ended.err
    assert "pdd/seed0/stage1  stage-" in ended.err
    assert cli("logs", "nope").err.startswith("error: no step 'nope' in the store")


def test_a_followed_log_is_shown_until_the_step_ends(folder: Path, cli: Callable[..., Ended]):
    store = Store(folder / "store")
    step = find_step("pdd/seed0/stage2", store)
    artifact = store.set_aside(step.key)
    log = store.log_path(step.key)
    log.write_text("one\n", encoding="utf-8")

    def finish() -> None:
        time.sleep(0.1)
        with log.open("a", encoding="utf-8") as file:
            file.write("two\n")
        artifact.rename(store.folder(step.key))

    thread = threading.Thread(target=finish)
    thread.start()
    ended = cli("logs", "-f", "pdd/seed0/stage2")
    thread.join()
    assert (ended.code, ended.out) == (0, "one\ntwo\n")


# --- tables and pictures --------------------------------------------------------------------------


def test_the_table_is_the_one_of_the_sweep(folder: Path, cli: Callable[..., Ended]):
    text = cli("table", "tiny").out
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines()[:5]]
    assert rows[0] == ["variant", "stages"]
    assert rows[2:] == [["random", "1"], ["pdd", "1"], ["pdd", "2"]]
    assert text == (folder / "store/sweeps/tiny/table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["csv", "json", "latex"])
def test_a_table_can_be_written_to_a_file(folder: Path, cli: Callable[..., Ended], form: str):
    shown = cli("table", "tiny", "--format", form).out
    ended = cli("table", "tiny", "--format", form, "--output", "t")
    assert (ended.out, ended.err) == ("", "written: t\n")
    assert (folder / "t").read_text(encoding="utf-8") == shown


@pytest.mark.parametrize(
    ("name", "first"), [("modes", "variant"), ("growth", "variant"), ("stages", "method")]
)
def test_a_ready_made_table_can_be_asked_for(
    folder: Path, cli: Callable[..., Ended], name: str, first: str
):
    text = cli("table", "tiny", "--compare", name).out
    assert text.splitlines()[0].split("|")[1].strip() == first
    assert "(n=" in text


def test_a_table_of_an_unfinished_sweep_says_what_is_missing(
    folder: Path, cli: Callable[..., Ended]
):
    store = Store(folder / "store")
    for step in read_status("tiny", store).steps:
        if step.kind == "evaluation" and step.label.startswith("pdd"):
            store.set_aside(step.key)
    assert "MISSING: 2 evaluations" in cli("table", "tiny").out


def test_pictures_are_written_and_their_paths_shown(folder: Path, cli: Callable[..., Ended]):
    paths = cli("images", "tiny").out.splitlines()
    assert paths == [
        str(folder / "store/sweeps/tiny/images" / name)
        for name in ("random-seed0.png", "pdd-seed0.png")
    ]


def test_pictures_show_the_stages_that_are_asked_for(folder: Path, cli: Callable[..., Ended]):
    paths = cli("images", "tiny", "--stage", "2").out.splitlines()
    assert [Path(path).name for path in paths] == [
        "pdd-seed0-stage2.png",
    ]


def test_pictures_show_the_stages_that_are_finished(folder: Path, cli: Callable[..., Ended]):
    store = Store(folder / "store")
    store.set_aside(find_step("pdd/seed0/stage1", store).key)
    assert cli("images", "tiny").out.splitlines() == [
        str(folder / "store/sweeps/tiny/images/random-seed0.png")
    ]


# --- configuration, TensorBoard, doctor -----------------------------------------------------------


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_shown_configuration_is_a_sweep_file(folder: Path, cli: Callable[..., Ended], form: str):
    text = cli("config", "show", "tiny.yaml", "seeds=[4]", "--format", form).out
    (folder / "shown").write_text(text, encoding="utf-8")
    assert load_sweep("shown") == load_sweep("tiny.yaml", ["seeds=[4]"])


def test_the_schema_is_json(cli: Callable[..., Ended]):
    assert json.loads(cli("config", "schema").out)["title"] == "SweepSpec"


def test_tensorboard_is_started_with_enough_pictures(
    folder: Path, cli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
):
    options = ["--logdir", str(folder / "store/tb"), "--samples_per_plugin", "images=1000"]
    assert cli("tb", "--print").out == f"tensorboard {' '.join(options)}\n"
    started: list[list[str]] = []
    monkeypatch.setattr(tensorboard.os, "execv", lambda _path, command: started.append(command))
    ended = cli("tb")
    assert started == [[sys.executable, "-m", "tensorboard.main", *options]]
    assert (ended.out, ended.err) == ("", f"tensorboard {' '.join(options)}\n")


def test_doctor_reports_a_line_per_subject(fresh: Path, cli: Callable[..., Ended]):
    ended = cli("doctor")
    lines = [line.split()[:2] for line in ended.out.splitlines()]
    assert ended.code == 0
    assert {line[0] for line in lines} <= {"ok", "warn"}
    subjects = [line[1] for line in lines]
    assert subjects[:3] == ["python", "cpus", "memory"]
    assert subjects[3 : 3 + len(doctor.PACKAGES)] == list(doctor.PACKAGES)
    assert subjects[3 + len(doctor.PACKAGES) :] == ["gpus", "store", "disk", "compiler"]


def test_doctor_fails_for_what_has_to_be_changed(
    fresh: Path, cli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    ended = cli("doctor", "--store", "tiny.yaml")
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert "fail  no-such-package is not installed; pip install no-such-package" in lines
    assert any(line.startswith("fail  store      the store ") for line in lines)


def test_doctor_warns_of_a_gpu_that_torch_does_not_see(monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(doctor, "_nvidia_gpus", lambda: ["A100, 40960 MiB"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (finding,) = doctor._gpus()
    assert str(finding).startswith("warn  gpus       A100, 40960 MiB, but torch does not see them")
