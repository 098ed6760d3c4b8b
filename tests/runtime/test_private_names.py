"""The private names of Ray that the package uses exist, so that an upgrade fails with their list.

The names are read from the source, so that none is forgotten; where they live is said here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import ray

import pdd_ray.runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(pdd_ray.runtime.__file__).parent
CONTROLLER = "ray.tune.execution.tune_controller:TuneController"
MANAGER = "ray.air.execution._internal.actor_manager:RayActorManager"
OWNERS = {
    "_private": "ray",
    "_worker_logs_enabled": "ray._private.worker",
    "_tune_controller": "ray.tune.execution.tune_controller:TrialRunnerWrapper",
    "_actor_cache": CONTROLLER,
    "_actor_manager": CONTROLLER,
    "_cleanup_cached_actors": CONTROLLER,
    "_cached_objects": "ray.tune.utils.object_cache:_ObjectCache",
    "items": "builtins:dict",  # what _ObjectCache holds, and a bundle
    "get": "builtins:dict",
    "_actor_task_events": MANAGER,
    "_actor_task_failed": MANAGER,
    "bundles": "ray.air.execution.resources.request:ResourceRequest",
    "cleanup": MANAGER,
    "next": MANAGER,
    "num_total_actors": MANAGER,
    "get_futures": "ray.air.execution._internal.event_manager:RayEventManager",
}
"""Where each name lives, ``module`` or ``module:class``."""


@dataclass(frozen=True, order=True)
class Use:
    """A name that is no promise of Ray, and where it is used."""

    name: str
    file: str
    line: int


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


class Uses(ast.NodeVisitor):
    """Collects private names of other objects than ``self``, and all names of what they hold."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.found: set[Use] = set()
        self._file = file
        self._tainted: set[str] = set()
        before = -1
        while len(self._tainted) > before:  # until all that holds something private is known
            before = len(self._tainted)
            self.visit(tree)

    def visit_Assign(self, node: ast.Assign) -> None:
        if self._reaches_inside(node.value):
            self._tainted |= {ast.unparse(target) for target in node.targets}
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._taint_elements(node)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._taint_elements(node)
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        if parts[0] == "ray":
            self._add(node, [part for part in parts if is_private(part)])
            if any(map(is_private, parts)):
                self._tainted |= {alias.asname or alias.name for alias in node.names}

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            parts = alias.name.split(".")
            if parts[0] == "ray":
                self._add(node, [part for part in parts if is_private(part)])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        private = is_private(node.attr) and ast.unparse(node.value) not in ("self", "cls")
        if private or self._reaches_inside(node.value):
            self._add(node, [node.attr])
        self.generic_visit(node)

    def _taint_elements(self, loop: ast.For | ast.comprehension) -> None:
        if self._reaches_inside(loop.iter):
            names = (node for node in ast.walk(loop.target) if isinstance(node, ast.Name))
            self._tainted |= {node.id for node in names}

    def _reaches_inside(self, node: ast.expr) -> bool:
        """Whether the object ``node`` comes from a private name, or was made from one."""
        if ast.unparse(node) in self._tainted:
            return True
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            return (is_private(node.attr) and not own) or self._reaches_inside(node.value)
        if isinstance(node, ast.Call):
            return self._reaches_inside(node.func)
        return False

    def _add(self, node: ast.stmt | ast.expr, names: list[str]) -> None:
        self.found |= {Use(name, self._file, node.lineno) for name in names}


def uses_in(path: Path) -> set[Use]:
    return Uses(path.name, ast.parse(path.read_text(encoding="utf-8"))).found


USES = sorted(use for path in FOLDER.glob("*.py") for use in uses_in(path))


def names_of(owner: str) -> Iterator[str]:
    """Yield what ``module`` or ``module:class`` has, with what a class gives its objects."""
    module, _, name = owner.partition(":")
    found = importlib.import_module(module)
    if not name:
        yield from vars(found)
        return
    for part in getattr(found, name).__mro__:
        yield from vars(part)
        if part.__module__ == "builtins":
            continue
        for node in ast.walk(ast.parse(inspect.cleandoc("\n" + inspect.getsource(part)))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield node.attr


def test_the_owners_listed_here_are_those_of_the_names_in_use():
    assert {use.name for use in USES} == set(OWNERS)


@pytest.mark.parametrize("name", OWNERS)
def test_a_private_name_of_ray_exists(name: str):
    places = ", ".join(f"{use.file}:{use.line}" for use in USES if use.name == name)
    try:
        there = name in set(names_of(OWNERS[name]))
    except (ImportError, AttributeError):
        there = False
    assert there, f"Ray {ray.__version__} has no {name} in {OWNERS[name]}; used in {places}"


def test_uses_are_found_behind_local_names(tmp_path: Path):
    source = tmp_path / "source.py"
    source.write_text(
        "from ray._private import worker\n"
        "import ray._raylet\n"
        "worker.wait()\n"
        "manager = thing._manager\n"
        "manager.stop().later\n"
        "self._ours.public\n"
        "self._kept = thing._kept\n"
        "self._kept.inner\n"
        "[key.name for key, _ in thing._pairs]\n"
    )
    assert {(use.name, use.line) for use in uses_in(source)} == {
        ("_private", 1),
        ("_raylet", 2),
        ("wait", 3),
        ("_manager", 4),
        ("stop", 5),
        ("later", 5),
        ("_kept", 7),
        ("inner", 8),
        ("_pairs", 9),
        ("name", 9),
    }
