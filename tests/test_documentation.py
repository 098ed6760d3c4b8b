"""Facts about README, docs and the other texts: what they name exists, what they show works."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import typer.main
from pydantic import TypeAdapter

from pdd_ray import errors
from pdd_ray.cli.main import app
from pdd_ray.data.dataset import Dataset
from pdd_ray.data.pixels import Identity
from pdd_ray.methods.base import Partial, StageInputs
from pdd_ray.saved_sweeps import KINDS
from pdd_ray.specs.load import load_sweep, presets, resolved
from pdd_ray.specs.model import ConvNetSpec
from pdd_ray.synthetic import empty_set

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from pdd_ray.fingerprint import Json

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS = [*TEXTS, *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("analysis", "benchmarks", "docs", "pdd_ray", "sweeps", "tests", ".ci")
EXAMPLE = "pdd_ray/methods/class_means.py"
"""The file that docs/adding_a_method.md has its reader write."""
COMMANDS = typer.main.get_command(app)


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks(document: Path, language: str) -> list[str]:
    """Return the code blocks of a language, without their indentation."""
    pattern = rf"^( *)```{language}\n(.*?)^ *```$"
    found = re.finditer(pattern, text_of(document), flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(match[2]) for match in found]


def shown_commands() -> Iterator[tuple[str, list[str]]]:
    """Yield every `pdd-ray` command of a bash block, those for other machines included."""
    for document in DOCUMENTS:
        for line in "".join(blocks(document, "bash")).splitlines():
            words = shlex.split(line, comments=True)
            for command in (line, *words):
                if command.startswith("pdd-ray "):
                    yield f"{document.name}: {command}", shlex.split(command, comments=True)[1:]


def snippets(language: str) -> Iterator[tuple[Path, str]]:
    """Yield every code block of a language with its document."""
    for document in DOCUMENTS:
        for block in blocks(document, language):
            yield document, block


def parse(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the command of ``arguments`` and its parameters; nothing is run."""
    command: Any = COMMANDS
    context = command.make_context("pdd-ray", list(arguments))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context.command_path.removeprefix("pdd-ray "), context.params


SHOWN = dict(shown_commands())


@pytest.mark.parametrize("arguments", SHOWN.values(), ids=SHOWN)
def test_shown_commands_exist_with_their_options(arguments: list[str]):
    parse(arguments)


@pytest.mark.parametrize("arguments", SHOWN.values(), ids=SHOWN)
def test_shown_overrides_fit_the_presets(arguments: list[str]):
    _, parameters = parse(arguments)
    sweep = parameters.get("sweep")
    if sweep in presets():
        load_sweep(sweep, parameters.get("overrides") or ())


def test_every_command_is_in_the_table_of_commands():
    listed = re.findall(
        r"^\| `([a-z]+(?: [a-z]+)?)\b", text_of(ROOT / "docs/command_line.md"), re.M
    )
    expected = [
        f"{name} {inner}".strip()
        for name, command in COMMANDS.commands.items()
        for inner in getattr(command, "commands", [""])
    ]
    assert sorted(listed) == sorted(expected)


def test_every_exit_code_of_an_error_is_in_the_table_of_exit_codes():
    table = text_of(ROOT / "docs/command_line.md").partition("## Exit codes")[2].partition("##")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.M)}
    codes = {kind.exit_code for kind in vars(errors).values() if hasattr(kind, "exit_code")}
    assert listed == codes | {0}


def test_shown_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.M))
    shown = {
        match
        for document in DOCUMENTS
        for match in re.findall(r"^make ([a-z]+)", "".join(blocks(document, "bash")), re.M)
    }
    assert {"demo", "test"} <= shown <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_inside_the_repository_resolve(document: Path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(document))
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(document: Path):
    named = re.findall(rf"`((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*)`", text_of(document))
    assert [name for name in named if name != EXAMPLE and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_functions_exist(document: Path):
    for module, name in re.findall(r"`((?:pdd_ray|analysis)(?:\.\w+)+):(\w+)`", text_of(document)):
        tree = ast.parse(text_of(ROOT / f"{module.replace('.', '/')}.py"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{document.name}:{number}")
        for number, (document, block) in enumerate(snippets("yaml"))
    ],
)
def test_yaml_snippets_are_valid_sweeps(block: str, tmp_path: Path):
    has_name = block.startswith("name:")
    path = tmp_path / "sweep.yaml"
    path.write_text(block if has_name else f"name: part\n{block}", encoding="utf-8")
    load_sweep(str(path))


def test_the_list_of_defaults_is_complete_and_true(tmp_path: Path):
    listed, plain = tmp_path / "listed.yaml", tmp_path / "plain.yaml"
    listed.write_text(blocks(ROOT / "docs/sweeps.md", "yaml")[-1], encoding="utf-8")
    plain.write_text("name: defaults\n", encoding="utf-8")
    assert resolved(load_sweep(str(listed))) == resolved(load_sweep(str(plain)))
    keys = set(re.findall(r"(\w+):", listed.read_text(encoding="utf-8")))
    assert _keys(resolved(load_sweep(str(plain)))) <= keys


def _keys(value: Json) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    if isinstance(value, dict):
        return {*value, *set().union(*map(_keys, value.values()))}
    return set()


def test_the_steps_of_the_architecture_are_all_kinds_of_steps():
    table = text_of(ROOT / "docs/architecture.md").partition("## Keys")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(KINDS)


def test_the_layers_of_the_architecture_are_those_that_are_checked():
    section = text_of(ROOT / "docs/architecture.md").partition("## Layers")[2]
    picture = section.split("```")[1].strip()
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(entry["layers"] for entry in contracts if entry["type"] == "layers")
    shown = [re.split("  +", line)[0] for line in picture.splitlines()]
    assert ["__main__", *shown] == layers


def test_cited_sections_of_the_specification_exist():
    headings = re.findall(r"^##+ (\d[\d.]*) ", text_of(ROOT / "docs/specification.md"), re.M)
    modules = sorted((ROOT / "pdd_ray").rglob("*.py"))
    cited = {(path.name, number) for path in modules for number in _cited_sections(text_of(path))}
    assert cited
    assert {(name, number) for name, number in cited if number not in headings} == set()


def _cited_sections(source: str) -> list[str]:
    """Return X and Y of "specification, section X" and "specification, sections X and Y"."""
    text = re.sub(r"\n\s*(?:# )?", " ", source)
    number = r"\d+(?:\.\d+)*"
    lists = re.findall(rf"specification, sections? ({number}(?:(?:,| and) {number})*)", text, re.I)
    return [found for numbers in lists for found in re.findall(number, numbers)]


def test_the_example_method_makes_images_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def module(name: str, source: str) -> ModuleType:
        """Return a module with this source, found under its name by dataclasses and pydantic."""
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    monkeypatch.syspath_prepend(str(tmp_path))
    spec, union, method, _ = blocks(ROOT / "docs/adding_a_method.md", "python")
    header = "\n".join(
        [
            "from typing import Annotated, ClassVar, Literal",
            "from pydantic import Field",
            "from pdd_ray.specs.base import FrozenModel",
            "from pdd_ray.specs.methods import RandomSelectionSpec, TrajectoryMatchingSpec",
        ]
    )
    specs = module("example_specs", f"{header}\n\n\n{spec}\n{union}")
    means = module("example_class_means", method)
    configured = TypeAdapter(specs.MethodSpec).validate_python(
        {"name": "class_means", "averaged": 2}
    )
    inputs = _inputs()
    outcomes = [
        means.ClassMeans(configured).distill(inputs, Partial(tmp_path), None) for _ in range(2)
    ]
    assert outcomes[0].labels.tolist() == [0, 0, 1, 1]
    assert outcomes[0].images.shape == (4, 1, 2, 2)
    # images of class c are c everywhere, so their means are too
    assert outcomes[0].images.mean(dim=(1, 2, 3)).tolist() == [0.0, 0.0, 1.0, 1.0]
    assert torch.equal(outcomes[0].images, outcomes[1].images)


def _inputs() -> StageInputs:
    labels = torch.arange(2).repeat_interleave(6)
    images = labels.float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    dataset = Dataset(
        *(images, labels) * 3,
        classes=("zero", "one"),
        pixels=Identity(),
        fingerprint="",
        source="digits",
    )
    return StageInputs(
        dataset=dataset,
        previous=empty_set((1, 2, 2), dataset.classes, "none", ""),
        images_per_class=2,
        model=ConvNetSpec(),
        experts=(),
        held_out=(),
        seed=0,
        device="cpu",
    )
