"""Facts about planning and running sweeps from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pdd_ray.api import preparing as sweeping
from pdd_ray.configuration.load import load_sweep
from pdd_ray.core.errors import ResourceError
from pdd_ray.core.store import MANIFEST, Store
from pdd_ray.runtime import run as runtime
from pdd_ray.runtime.interface import RunOptions, RunOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pdd_ray.core.steps import Step, StepCall
    from pdd_ray.runtime.interface import Display
    from tests.cli.conftest import Ended


def test_a_plan_counts_steps_by_kind(fresh: Path, cli: Callable[..., Ended]):
    ended = cli("plan", "tiny.yaml")
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[:2] == ["tiny: 2 experiments, 3 evaluations", "Two stages of one image per class."]
    kinds = [line.split()[:3] for line in lines[3:9]]
    assert kinds == [
        ["data", "1", "1"],
        ["start", "2", "2"],
        ["expert", "2", "2"],
        ["stage", "2", "2"],
        ["coreset", "1", "1"],
        ["evaluation", "3", "3"],
    ]
    assert lines[9] == "11 steps (1 more are shared), 0 cached, 11 steps to do"
    assert lines[10] == "torch.compile: 0 of 2 expert steps, 0 of 2 stage steps"
    assert "(speed: data, start, expert, stage, coreset, evaluation from a model)" in lines[11]


def test_a_plan_uses_speeds_that_were_measured(folder: Path, cli: Callable[..., Ended]):
    modelled = cli("plan", "tiny.yaml", "seeds=[1]").out.splitlines()[-1]
    assert "from a model)" in modelled  # steps this short say nothing about speed
    for path in (folder / "store/artifacts").rglob(MANIFEST):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(
            json.dumps({**manifest, "seconds": 60.0, "cpu_seconds": 60.0}), encoding="utf-8"
        )
    line = cli("plan", "tiny.yaml", "seeds=[1]", "--cpus", "64").out.splitlines()[-1]
    assert " on 64 CPUs: " in line
    assert "(speed: start, expert, stage, coreset, evaluation measured on this store)" in line


def test_a_plan_as_json_lists_every_step(folder: Path, cli: Callable[..., Ended]):
    plan = json.loads(cli("plan", "tiny.yaml", "--json").out)
    assert plan["schema"] == "pdd-ray/plan/1"
    assert (plan["cached"], plan["to_do"], len(plan["steps"])) == (11, 0, 11)
    assert plan["estimate"]["seconds"] == 0
    assert all(step["cached"] for step in plan["steps"])
    compiled = {step["kind"] for step in plan["steps"] if step["compiled"] is False}
    assert compiled == {"expert", "stage"}
    keys = [step["key"] for step in plan["steps"]]
    needed = [set(step["inputs"].values()) <= set(keys[:n]) for n, step in enumerate(plan["steps"])]
    assert all(needed)


def test_a_finished_sweep_has_nothing_to_do_and_shows_its_table(
    folder: Path, cli: Callable[..., Ended]
):
    ended = cli("run", "tiny.yaml")
    assert ended.code == 0
    assert "11 cached, 0 steps to do" in ended.err
    assert ended.out == (folder / "store/sweeps/tiny/table.md").read_text(encoding="utf-8")


def test_a_run_leaves_its_outputs_in_the_store(folder: Path, cli: Callable[..., Ended]):
    files = {path.name for path in (folder / "store/sweeps/tiny").rglob("*.*")}
    assert files == {
        "sweep.json",
        "steps.json",
        "planned.jsonl",
        "records.jsonl",
        "table.md",
        "accuracy.png",
        "random-seed0.png",
        "pdd-seed0.png",
    }


def test_an_extended_sweep_does_only_what_is_new(folder: Path, cli: Callable[..., Ended]):
    ended = cli("run", "tiny.yaml", "evaluation.networks=2", "--serial")
    assert ended.code == 0
    assert "14 steps (1 more are shared), 11 cached, 3 steps to do" in ended.err


def test_a_damaged_artifact_is_set_aside_and_made_again(folder: Path, cli: Callable[..., Ended]):
    store = Store(folder / "store")
    key = next(key for key in _keys(store) if key.startswith("coreset-"))
    path = store.folder(key) / "synthetic.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert "10 cached, 1 steps to do" in cli("plan", "tiny.yaml").out
    assert path.stat().st_size == len(content) - 1
    ended = cli("run", "tiny.yaml", "--serial")
    assert ended.code == 0
    assert f"artifact {key} is damaged: " in ended.err
    assert "; it is set aside and made again" in ended.err
    assert path.read_bytes() == content
    assert len(list((folder / "store/damaged").iterdir())) == 1


def test_a_failed_step_is_named_with_its_cause_and_its_log(fresh: Path, cli: Callable[..., Ended]):
    ended = cli("run", "tiny.yaml", "method.image_learning_rate=1e38", "--serial")
    assert ended.code == 1
    error = ended.err[ended.err.index("error:") :].splitlines()
    assert error[0].startswith("error: 1 step failed")
    assert error[1].startswith("  pdd/seed0/stage")
    assert error[1].endswith(f"(pdd-ray logs {error[1].split(':')[0].strip()})")
    assert error[-1] == "run the same command again to try them again"
    label = error[1].split(":")[0].strip()
    assert "Traceback" in cli("logs", label, "--store", "pdd-ray-store").out
    status = cli("status")
    assert f"failed: {label}: " in status.out


def test_an_interrupted_run_says_how_to_continue(
    fresh: Path, cli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
):
    def interrupt(_call: StepCall, *_others: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeping, "execute", interrupt)
    ended = cli("run", "tiny.yaml", "--serial")
    assert ended.code == 130
    message = "stopped with 0 of 11 steps done; run the same command again to continue"
    assert ended.err.splitlines()[-1].endswith(message)


@pytest.fixture
def ray_calls(monkeypatch: pytest.MonkeyPatch) -> list[RunOptions]:
    """Replace Ray by something that does nothing and says that it was stopped."""
    calls: list[RunOptions] = []

    def run_on_ray(
        steps: Sequence[Step], _store: Store, options: RunOptions, _display: Display
    ) -> RunOutcome:
        calls.append(options)
        return RunOutcome(left=tuple(step.key for step in steps), interrupted=True)

    monkeypatch.setattr(runtime, "run_on_ray", run_on_ray)
    return calls


def test_without_a_compiler_nothing_is_begun_that_compiles_later(
    fresh: Path, cli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    ended = cli("run", "tiny.yaml", "method.compile=true", "--serial")
    assert ended.code == ResourceError.exit_code
    assert "stage1 uses torch.compile, and this machine has no C++ compiler" in ended.err
    assert not any((fresh / "store/artifacts").glob("*/*"))


def test_options_reach_ray(fresh: Path, cli: Callable[..., Ended], ray_calls: list[RunOptions]):
    options = ["--address", "auto", "--fail-fast", "--cpus", "3", "--gpus", "1"]
    assert cli("run", "tiny.yaml", "resources.max_concurrent_stages=5", *options).code == 130
    assert ray_calls == [
        RunOptions(address="auto", fail_fast=True, max_concurrent_stages=5, cpus=3, gpus=1)
    ]


def test_the_demo_is_the_preset_of_that_name(
    fresh: Path, cli: Callable[..., Ended], ray_calls: list[RunOptions]
):
    ended = cli("demo", "seeds=[5]", "--cpus", "2", "--store", "s")
    assert (ended.code, ray_calls) == (130, [RunOptions(cpus=2)])
    assert load_sweep("demo", store=None).spec.seeds == (0,)
    assert json.loads((fresh / "s/sweeps/demo/sweep.json").read_text())["seeds"] == [5]


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("run", "tiny.yaml", "method.iteratoins=2"), 2,
         "error: override method.iteratoins: unknown key; did you mean 'iterations'?"),
        (("run", "tinny.yaml"), 2, "error: no sweep 'tinny.yaml'"),
        (("run", "tiny.yaml", "stages.images_per_class=500"), 2, "error: experiment pdd/seed0"),
        (("plan", "tiny.yaml", "data={source: npz, root: no.npz}"), 2, "error: data.root "),
        (("run", "tiny.yaml", "table.rows=[varient]"), 2,
         "error: tables can't show 'varient': records have "),
        (("run", "tiny.yaml", "table.baseline=none"), 2,
         "error: table.baseline 'none' is not a variant; there is random, pdd"),
        (("run", "tiny.yaml", "--store", "tiny.yaml"), 4, "error: the store "),
        (("status",), 4, "error: there is no store at "),
        (("table", "tiny"), 4, "error: there is no store at "),
        (("run", "tiny.yaml", "--cpus", "0"), 2, "Usage: pdd-ray run"),
        (("nonsense",), 2, "Usage: pdd-ray"),
    ],
)  # fmt: skip
def test_errors_are_lines_with_their_exit_code(
    fresh: Path, cli: Callable[..., Ended], arguments: tuple[str, ...], code: int, line: str
):
    ended = cli(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith(line)
    assert "Traceback" not in ended.err


def test_a_defect_keeps_its_traceback(
    fresh: Path, cli: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
):
    def defect(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sweeping, "prepare", defect)
    with pytest.raises(ZeroDivisionError):
        cli("run", "tiny.yaml")


def _keys(store: Store) -> list[str]:
    steps = json.loads((store.sweep_folder("tiny") / "steps.json").read_text(encoding="utf-8"))
    return [step["key"] for step in steps]
