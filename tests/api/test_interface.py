"""Facts about the functions of the package: they do what the commands of their names do."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import typer.main

import pdd_analysis
import pdd_ray
from pdd_ray.api import preparing
from pdd_ray.api.reading import tensorboard_folder
from pdd_ray.cli.main import app, main
from pdd_ray.configuration import expand, yaml
from pdd_ray.configuration.load import load_sweep
from pdd_ray.core import errors
from pdd_ray.core.errors import ConfigError, InterruptedRunError, StepsFailedError, StoreError
from pdd_ray.core.store import Store
from pdd_ray.results.saved_sweeps import StepState, find_step
from tests.cli.conftest import TINY
from tests.cli.test_startup import HEAVY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pdd_ray.configuration.document import Node

DOCUMENT = Path(__file__).parents[2] / "docs/python.md"
CONTENT = yaml.parse(TINY, "tiny").plain()
"""The tiny sweep as a dictionary."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.yaml and `store`, on which it was run."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    result = pdd_ray.run(folder / "tiny.yaml", store=folder / "store", serial=True, quiet=True)
    assert result.outcome.complete
    return folder


@pytest.fixture
def folder(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished folder to change, as the current folder."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("PDD_RAY_STORE", "store")
    return copy


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what a command writes to stdout."""

    def call(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        assert not caught.value.code
        return capsys.readouterr().out

    return call


# --- what is imported -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "allowed"),
    [
        ("pdd_ray.__version__", set()),
        ("pdd_ray.plan('tiny.yaml')", set()),
        ("pdd_ray.status()", set()),
        ("pdd_ray.table('tiny')", {"numpy", "pandas", "scipy"}),
        ("pdd_ray.run('tiny.yaml', quiet=True).records", {"numpy", "pandas", "scipy"}),
    ],
)
def test_what_computes_nothing_loads_neither_torch_nor_ray(
    folder: Path, program: str, allowed: set[str]
):
    code = f"import pdd_ray, sys; {program}; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout.replace("'", '"'))) <= allowed


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'pdd_ray' has no attribute 'ran'"):
        _ = pdd_ray.ran


def test_every_error_is_importable_from_the_top():
    public = {name for name, each in vars(errors).items() if inspect.isclass(each)}
    assert {name for name in pdd_ray.__all__ if name.endswith("Error")} == public
    assert all(getattr(pdd_ray, name) is getattr(errors, name) for name in public)


def test_every_public_name_is_there():
    assert all(hasattr(pdd_ray, name) for name in pdd_ray.__all__)


def test_the_analysis_is_importable_beside_a_folder_of_that_name(tmp_path: Path):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis/__init__.py").write_text("raise ImportError\n", encoding="utf-8")
    program = "from pdd_ray import analysis; print(analysis.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "pdd_analysis\n"
    assert pdd_ray.analysis is pdd_analysis


# --- sweeps ---------------------------------------------------------------------------------------


def test_a_file_its_content_and_a_loaded_sweep_are_the_same_sweep(folder: Path):
    sources = ["tiny.yaml", Path("tiny.yaml"), CONTENT, load_sweep("tiny.yaml"), "tiny"]
    plans = [pdd_ray.plan(source) for source in sources]
    assert len({tuple(step.key for step in plan.steps) for plan in plans}) == 1
    assert all(plan.missing == () for plan in plans)


def test_overrides_change_every_kind_of_sweep(folder: Path):
    sources = ["tiny.yaml", CONTENT, load_sweep("tiny.yaml")]
    plans = [pdd_ray.plan(source, ["seeds=[0, 1]"]) for source in sources]
    assert len({tuple(step.key for step in plan.steps) for plan in plans}) == 1
    assert 0 < len(plans[0].missing) < len(plans[0].steps)


def test_mistakes_in_a_dictionary_are_named_by_their_keys():
    with pytest.raises(ConfigError, match=r"^the sweep given: metod: unknown key; did you mean"):
        pdd_ray.plan({"name": "wrong", "metod": {}})


def test_the_data_root_of_a_dictionary_is_relative_to_the_current_folder(folder: Path):
    sweep = {**CONTENT, "data": {"source": "npz", "root": Path("numbers")}}
    assert pdd_ray.config(sweep)["data"]["root"] == str(folder / "numbers")


@pytest.mark.parametrize(
    "command",
    [
        lambda: pdd_ray.run("tiny.yaml", quiet=True).records,
        lambda: pdd_ray.table("tiny"),
        lambda: pdd_ray.write_report("tiny"),
    ],
)
def test_a_sweep_is_expanded_once(
    folder: Path, command: Callable[[], object], monkeypatch: pytest.MonkeyPatch
):
    expanded: list[object] = []

    def settings(sweep: Node, problems: dict[str, None]) -> Iterator[expand.SettingDocument]:
        expanded.append(sweep.mapping()["name"].plain())
        return original(sweep, problems)

    original = expand.settings
    monkeypatch.setattr(expand, "settings", settings)
    command()
    assert expanded == ["tiny"]


# --- run and plan ---------------------------------------------------------------------------------


def test_a_plan_is_what_the_command_shows(folder: Path, shown: Callable[..., str]):
    plan = pdd_ray.plan("tiny.yaml", ["seeds=[1]"], store=folder / "new")
    assert f"{plan}\n" == shown("plan", "tiny.yaml", "seeds=[1]", "--store", "new")
    as_json = shown("plan", "tiny.yaml", "seeds=[1]", "--store", "new", "--json")
    assert json.dumps(plan.to_json(), indent=1) + "\n" == as_json
    assert not (folder / "new/store.json").exists()


def test_a_run_gives_what_the_command_leaves(folder: Path):
    result = pdd_ray.run("tiny.yaml", quiet=True)
    assert (result.name, result.sweeps, result.outcome.done) == ("tiny", ("tiny",), ())
    assert result.records == pdd_analysis.load(folder / "store", "tiny")
    assert len(result.frame()) == len(result.records) == 3
    assert result.table() == (folder / "store/sweeps/tiny/table.md").read_text(encoding="utf-8")
    assert [path.name for path in result.pictures] == [
        "accuracy.png",
        "pdd-seed0.png",
        "random-seed0.png",
    ]


def test_a_run_tells_on_stderr_what_happens_unless_it_is_quiet(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    Store("store").set_aside(find_step("random/seed0/stage1", Store("store")).key)
    pdd_ray.run("tiny.yaml", serial=True)
    written = capsys.readouterr()
    assert written.out == ""
    assert "random/seed0/stage1" in written.err
    Store("store").set_aside(find_step("random/seed0/stage1", Store("store")).key)
    pdd_ray.run("tiny.yaml", serial=True, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_failed_step_is_raised_and_the_others_are_kept(folder: Path):
    with pytest.raises(StepsFailedError, match=r"(?s)1 step failed.*pdd/seed0/stage1: .*diverged"):
        pdd_ray.run("tiny.yaml", ["method.image_learning_rate=1e30"], serial=True, quiet=True)
    (status,) = pdd_ray.status("tiny")
    assert status.count(StepState.FAILED) == 1
    assert status.count(StepState.DONE) > 0


def test_what_failed_is_in_the_result_of_a_plan_and_raised_when_it_is_checked(folder: Path):
    planned = pdd_ray.plan("tiny.yaml", ["method.image_learning_rate=1e30"])
    result = planned.run(serial=True, quiet=True)
    (message,) = result.outcome.failed.values()
    assert "diverged" in message
    assert list(result.tables) == ["tiny"]  # the baseline, which was done before
    with pytest.raises(StepsFailedError, match=r"\(show pdd/seed0/stage1\)"):
        result.check("show")


def test_a_run_that_was_stopped_says_so_when_it_is_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(preparing, "execute", stop)
    planned = pdd_ray.plan("tiny.yaml", store="new")
    result = planned.run(serial=True, quiet=True)
    assert (result.tables, result.outcome.interrupted) == ({}, True)
    with pytest.raises(InterruptedRunError, match="stopped with 0 of 11 steps done"):
        result.check()


def test_a_collection_is_run_as_one(folder: Path):
    other = TINY.replace("name: tiny", "name: other")
    (folder / "other.yaml").write_text(other, encoding="utf-8")
    (folder / "both.yaml").write_text("name: both\nsweeps: [tiny.yaml, other.yaml]\n", "utf-8")
    result = pdd_ray.run("both.yaml", quiet=True)
    assert (result.name, result.sweeps) == ("both", ("tiny", "other"))
    assert len(result.records) == 6
    assert [line for line in result.table().splitlines() if line.startswith("#")] == [
        "## tiny",
        "## other",
    ]
    assert [status.sweep for status in pdd_ray.status("both")] == ["tiny", "other"]
    assert len(pdd_ray.write_report("both")) == 3


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["md", "csv", "latex", "json"])
def test_a_table_is_what_the_command_shows(folder: Path, shown: Callable[..., str], form: str):
    assert pdd_ray.table("tiny", form=form) == shown("table", "tiny", "--format", form)


def test_a_table_can_be_another_than_the_sweeps(folder: Path, shown: Callable[..., str]):
    assert pdd_ray.table(CONTENT, compare="growth") == shown("table", "tiny", "--compare", "growth")
    own = pdd_ray.table("tiny", rows=["stages"], columns=["variant"])
    assert own == shown("table", "tiny", "--rows", "stages", "--cols", "variant")
    with pytest.raises(ConfigError, match="no ready-made table 'sizes'; there is modes"):
        pdd_ray.table("tiny", compare="sizes")
    with pytest.raises(ConfigError, match="compare is a table by itself"):
        pdd_ray.table("tiny", compare="growth", rows=["stages"])


def test_the_status_of_all_sweeps_is_there_without_a_name(folder: Path):
    (status,) = pdd_ray.status()
    assert status.sweep == "tiny"
    assert status.count(StepState.DONE) == len(status.steps)


def test_a_log_is_what_the_command_shows(folder: Path, shown: Callable[..., str]):
    assert pdd_ray.logs("pdd/seed0/stage2") == shown("logs", "pdd/seed0/stage2")
    Store("store").log_path(find_step("pdd/seed0/stage2", Store("store")).key).unlink()
    assert pdd_ray.logs("pdd/seed0/stage2") == ""


def test_pictures_are_those_of_the_command(folder: Path, shown: Callable[..., str]):
    paths = pdd_ray.pictures("tiny", stages=[2])
    assert [str(path) for path in paths] == shown("images", "tiny", "--stage", "2").splitlines()
    assert all(path.is_file() for path in paths)


def test_plots_are_those_of_the_command(folder: Path, shown: Callable[..., str]):
    paths = pdd_ray.plots("tiny", kinds=["accuracy"], form="svg", output="plots")
    first = paths[0].read_bytes()
    shown("plot", "tiny", "--kind", "accuracy", "--format", "svg", "--output", "plots")
    assert paths == [Path("plots/accuracy.svg")]
    assert paths[0].read_bytes() == first
    with pytest.raises(ConfigError, match="plot continual of tiny: no evaluation is one of"):
        pdd_ray.plots("tiny", kinds=["continual"])


def test_the_folder_of_tensorboard_is_that_of_the_command(folder: Path, shown: Callable[..., str]):
    assert str(tensorboard_folder("tiny")) in shown("tb", "tiny", "--print")
    assert str(tensorboard_folder()) in shown("tb", "--print")


def test_doctor_finds_what_the_command_shows(folder: Path, shown: Callable[..., str]):
    found = [f"{finding.level:<5} {finding.subject}" for finding in pdd_ray.doctor()]
    lines = shown("doctor").splitlines()
    assert [line[: len(text)] for line, text in zip(lines, found, strict=True)] == found


def test_a_report_is_a_page_where_the_command_writes_it(folder: Path):
    assert pdd_ray.write_report("tiny") == [folder / "store/sweeps/tiny/report.html"]
    assert pdd_ray.write_report("tiny", output="page.html") == [Path("page.html")]
    assert "<html" in Path("page.html").read_text(encoding="utf-8")


def test_the_configuration_and_the_schema_are_those_of_the_commands(
    folder: Path, shown: Callable[..., str]
):
    config = pdd_ray.config("tiny.yaml", ["seeds=[3]"])
    assert config == json.loads(shown("config", "show", "tiny.yaml", "seeds=[3]", "-f", "json"))
    assert pdd_ray.schema() == json.loads(shown("config", "schema"))


def test_reading_needs_a_store(tmp_path: Path):
    with pytest.raises(StoreError, match="there is no store at"):
        pdd_ray.status(store=tmp_path)


# --- distilled sets -------------------------------------------------------------------------------


def test_a_set_is_found_by_label_folder_and_file(folder: Path):
    artifact = Store("store").folder(find_step("pdd/seed0/stage2", Store("store")).key)
    sets = [
        pdd_ray.load_set(source)
        for source in ("pdd/seed0/stage2", artifact, artifact / "synthetic.safetensors")
    ]
    assert sets[0].stages == 2
    assert sets[0].images.shape == (20, 1, 8, 8)
    assert all(torch.equal(sets[0].images, other.images) for other in sets)


def test_what_makes_no_images_is_no_set(folder: Path):
    with pytest.raises(ConfigError, match=r"pdd/seed0/stage1/expert0 \(expert\) makes no images"):
        pdd_ray.load_set("pdd/seed0/stage1/expert0")
    Store("store").set_aside(find_step("pdd/seed0/stage2", Store("store")).key)
    with pytest.raises(ConfigError, match="pdd/seed0/stage2 is not finished yet"):
        pdd_ray.load_set("pdd/seed0/stage2")


# --- documentation --------------------------------------------------------------------------------


def test_every_function_is_in_the_table_beside_its_command():
    text = DOCUMENT.read_text(encoding="utf-8").partition("## TensorBoard")[0]
    rows = [line.split(" | ") for line in text.splitlines() if re.match(r"\| (`|\|)", line)]
    functions = {name for row in rows for name in re.findall(r"`pdd_ray\.(\w+)\(", " | ".join(row))}
    assert functions == {n for n in pdd_ray.__all__ if inspect.isfunction(getattr(pdd_ray, n))}
    commands = typer.main.get_command(app).commands
    for name in (name for row in rows for name in re.findall(r"`([a-z ]+)`", row[0])):
        first, _, second = name.partition(" ")
        assert not second or second in commands[first].commands
        assert first in commands


def test_the_tags_of_the_document_are_those_that_are_written():
    from pdd_ray.methods.tensorboard import IMAGES, TAGS

    text = DOCUMENT.read_text(encoding="utf-8").partition("## TensorBoard")[2]
    cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    assert {tag for cell in cells for tag in re.findall(r"`([^`]+)`", cell)} == {
        *TAGS.values(),
        IMAGES,
    }


def test_the_dictionary_of_the_document_is_a_sweep(monkeypatch: pytest.MonkeyPatch):
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    configs = []
    monkeypatch.setattr(
        pdd_ray,
        "run",
        lambda sweep, overrides, **_: configs.append(pdd_ray.config(sweep, overrides)),
        raising=False,
    )
    exec(blocks[1], {"pdd_ray": pdd_ray})
    assert [config["seeds"] for config in configs] == [[0, 1]]
