"""Facts about README, docs and the other texts: what they name exists, what they show works."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from docs import defaults
from pdd_ray.cli.main import app
from pdd_ray.configuration.describe import describe, sections
from pdd_ray.configuration.experiment import ResourcesSpec, StepResources
from pdd_ray.configuration.load import load_collection, presets
from pdd_ray.configuration.method_registry import METHODS
from pdd_ray.configuration.recipes import RECIPES
from pdd_ray.core import errors
from pdd_ray.core.operations import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdd_ray.configuration.describe import DescribedKey

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
METHOD_PAGES = ROOT / "docs/methods"
FOLDERS_OF_PAGES = ("docs", "docs/methods", "docs/extending")
DOCUMENTS = [
    *TEXTS,
    *(path for folder in FOLDERS_OF_PAGES for path in sorted((ROOT / folder).glob("*.md"))),
]
NAMING = [*DOCUMENTS, *sorted((ROOT / "docs/results").glob("*.md")), ROOT / "benchmarks/README.md"]
"""Documents that name files; not all of them show commands that work anywhere."""
FOLDERS = ("analysis", "benchmarks", "docs", "pdd_ray", "sweeps", "tests", ".ci")
EXAMPLE = "pdd_ray/training/diversity.py"
"""The file that docs/extending/step.md has its reader write."""
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
        load_collection(sweep, parameters.get("overrides") or ())


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


@pytest.mark.parametrize("document", NAMING, ids=lambda path: path.name)
def test_links_inside_the_repository_resolve(document: Path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(document))
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", NAMING, ids=lambda path: path.name)
def test_links_to_headings_resolve(document: Path):
    links = re.findall(r"\]\(([^)#]*)#([^)]+)\)", text_of(document))
    local = [(page, heading) for page, heading in links if not page.startswith("http")]
    places = [(document.parent / page if page else document, heading) for page, heading in local]
    assert [heading for page, heading in places if heading not in anchors(page)] == []


def anchors(document: Path) -> set[str]:
    """Return what a link to a heading of a document ends in, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", text_of(document), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", NAMING, ids=lambda path: path.name)
def test_named_files_exist(document: Path):
    named = re.findall(rf"`((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*)`", text_of(document))
    assert [name for name in named if name != EXAMPLE and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", NAMING, ids=lambda path: path.name)
def test_named_functions_exist(document: Path):
    pattern = r"`((?:pdd_ray|pdd_analysis)(?:\.\w+)+):(\w+)`"
    for module, name in re.findall(pattern, text_of(document)):
        home = ROOT / "analysis" if module.startswith("pdd_analysis") else ROOT
        tree = ast.parse(text_of(home / f"{module.replace('.', '/')}.py"))
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
    load_collection(str(path))


PAGES = defaults.pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_tables_of_defaults_are_those_of_the_code(page: Path):
    text = text_of(page)
    assert defaults.with_current_tables(text) == text, "a table is stale: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_mark_of_a_table_of_defaults_is_understood(page: Path):
    marks = re.findall(r"^<!-- (?:defaults|end)\b.*$", text_of(page), re.M)
    assert len(marks) == 2 * len(defaults.described_keys(text_of(page)))


def test_every_key_of_a_sweep_is_in_a_table_of_defaults():
    listed = {row for page in PAGES for row in rows_of_defaults(page)}
    missing = {key: set(describe(key).keys) - listed for key in sections()}
    assert {key: rows for key, rows in missing.items() if rows} == {}


def rows_of_defaults(page: Path) -> set[DescribedKey]:
    """Return the rows of the generated tables of a page."""
    found = set()
    for key, other in defaults.described_keys(text_of(page)):
        found |= set(describe(key).keys) - (set(describe(other).keys) if other else set())
    return found


def test_the_steps_of_the_architecture_are_all_kinds_of_steps():
    table = text_of(ROOT / "docs/architecture.md").partition("## Keys")[0]
    fields = ResourcesSpec.model_fields.items()
    kinds = {name for name, field in fields if field.annotation is StepResources}
    shown = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    assert shown == kinds | {"coreset"}
    assert shown >= set(KINDS)


def test_the_layers_of_the_architecture_are_those_that_are_checked():
    section = text_of(ROOT / "docs/architecture.md").partition("## Rooms")[2]
    picture = section.split("```")[1].strip()
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(entry["layers"] for entry in contracts if entry["type"] == "layers")
    shown = [re.split("  +", line)[0] for line in picture.splitlines()]
    assert ["__main__", *shown] == layers


CITING = [*sorted((ROOT / "pdd_ray").rglob("*.py")), *sorted((ROOT / "docs").rglob("*.md"))]
CITATIONS = {
    "trajectory matching": r"specification(?: of trajectory matching)?, sections?",
    "other methods": r"of other methods, sections?",
}


@pytest.mark.parametrize("part", CITATIONS)
def test_cited_sections_of_the_specification_exist(part: str):
    first, _, second = text_of(ROOT / "docs/specification.md").partition(
        "# Specification of other methods"
    )
    text = first if part == "trajectory matching" else second
    headings = re.findall(r"^##+ (\d[\d.]*) ", text, re.M)
    cited = {
        (path.name, number)
        for path in CITING
        for number in _cited_sections(text_of(path), CITATIONS[part])
    }
    assert cited
    assert {(name, number) for name, number in cited if number not in headings} == set()


def _cited_sections(source: str, citation: str) -> list[str]:
    """Return X and Y of "CITATION section X" and "CITATION sections X and Y"."""
    text = re.sub(r"\n\s*(?:# )?", " ", source)
    number = r"\d+(?:\.\d+)*"
    lists = re.findall(rf"{citation} ({number}(?:(?:,| and) {number})*)", text, re.I)
    return [found for numbers in lists for found in re.findall(number, numbers)]


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the rows of the tables of ``text``."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]


def settings_of(page: str) -> set[str]:
    """Return the settings of which a page of a method has the original values."""
    tables = re.findall(
        r"^\| setting \| original \|.*\n\|[-|]+\n((?:\|.*\n)+)", text_of(METHOD_PAGES / page), re.M
    )
    cells = (row[0] for table in tables for row in rows_of(table))
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def listed_methods() -> dict[str, list[str]]:
    """Return the rows of the table of all methods: page, paper, and so on."""
    found = {}
    for row in rows_of(text_of(METHOD_PAGES / "README.md")):
        if name := re.match(r"\[`(\w+)`\]\((\w+\.md)\)", row[0]):
            found[name[1]] = [name[2], *row[1:]]
    return found


def test_every_method_is_in_the_table_of_methods_with_its_recipe_and_needs():
    listed = listed_methods()
    assert listed.keys() == METHODS.keys()
    for name, (_, _, _, stages, recipe, needs) in listed.items():
        spec = METHODS[name]()
        assert recipe == f"`{spec.recipe}`"
        assert (stages == "any number") == spec.distills
        assert ("experts" in needs) == bool(spec.trajectory_epochs)
        assert ("features" in needs) == spec.needs_features
        assert ("scores" in needs) == spec.needs_scores


@pytest.mark.parametrize("name", METHODS)
def test_the_page_of_a_method_has_its_settings_or_links_to_the_page_that_has(name: str):
    page = METHOD_PAGES / listed_methods()[name][0]
    parents = re.findall(r"^Those of \[\w+\]\((\w+\.md)#settings\)", text_of(page), re.M)
    listed = {
        row
        for each in (page, *map(METHOD_PAGES.joinpath, parents))
        for row in rows_of_defaults(each)
    }
    assert set(describe(f"method.{name}").keys) <= listed


def test_the_settings_with_original_values_exist():
    pages = {page for page, *_ in listed_methods().values()}
    assert settings_of("mtt.md") >= {"inner_steps", "gradient"}
    for page in pages:
        names = {name for name, (own, *_) in listed_methods().items() if own == page}
        known = {key.name for name in names for key in describe(f"method.{name}").keys}
        assert settings_of(page) <= known


def test_the_table_of_recipes_is_true():
    section = text_of(METHOD_PAGES / "README.md").partition("## Recipes")[2]
    rows = {row[0].strip("`"): row for row in rows_of(section) if row[0].startswith("`")}
    assert rows.keys() == RECIPES.keys()
    for name, (_, augmentation, batch, _, momentum, epochs, transition) in rows.items():
        recipe = RECIPES[name]
        assert (augmentation == "none") == (recipe.training.get("augmentation") == "none")
        assert int(batch) == recipe.training.get("batch_size", 256)
        assert (momentum == "emptied") == bool(recipe.training.get("reset_momentum_at_decay"))
        assert (int(epochs), int(transition)) == (recipe.epochs, recipe.transition_epochs)
