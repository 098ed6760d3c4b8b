"""Extensions: what this package and installed others add of methods, networks and data sources.

A package adds one by an entry point of its group that names a class::

    [project.entry-points."pdd_ray.models"]
    wide = "my_package.wide:WideNetworkSpec"

What is built in are the classes of the modules of one package, so that a module is all that has to
be added here. Both are found in the same way by everybody else.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import TYPE_CHECKING, TypeVar

from pdd_ray.core.errors import ExtensionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pdd_ray.core.frozen_model import FrozenModel

Extension = TypeVar("Extension")


def extensions(
    group: str, base: type[Extension], built_in: str, name_of: Callable[[type[Extension]], str]
) -> dict[str, type[Extension]]:
    """Return all classes of ``group`` by name: those of ``built_in`` first, then installed ones.

    Args:
        group: Group of entry points, such as ``pdd_ray.models``.
        base: What every one of them derives from.
        built_in: Package whose modules hold the built-in ones.
        name_of: Gives the name by which sweeps call a class; empty if it is a base of others.

    Raises:
        ExtensionError: if an entry point names something else, can't be imported, or has a name
            that is taken.
    """
    found = {name_of(each): each for each in _built_in(base, built_in) if name_of(each)}
    for point in sorted(_installed(group), key=lambda point: point.name):
        extension = _load(point, base)
        name = name_of(extension)
        if name != point.name:
            msg = f"{_described(point)} is called {name!r}; give the entry point the same name"
            raise ExtensionError(msg)
        if name in found:
            msg = f"{_described(point)}: there is {name!r} already, in {found[name].__module__}"
            raise ExtensionError(f"{msg}; choose another name")
        found[name] = extension
    return found


def configured_name(kind: type[FrozenModel]) -> str:
    """Return the default of the field ``name`` of a configuration; empty if it has none."""
    field = kind.model_fields.get("name")
    return str(field.default) if field is not None else ""


def _built_in(base: type[Extension], package: str) -> Iterator[type[Extension]]:
    """Yield the classes derived from ``base`` that the modules of ``package`` define, in order."""
    for module in iter_modules(import_module(package).__path__):
        path = f"{package}.{module.name}"
        for value in vars(import_module(path)).values():
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == path:
                yield value


def _installed(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _load(point: EntryPoint, base: type[Extension]) -> type[Extension]:
    try:
        found = point.load()
    except Exception as error:
        msg = (
            f"{_described(point)} can't be imported ({type(error).__name__}: {error}); repair or "
            "uninstall that package"
        )
        raise ExtensionError(msg) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        msg = f"{_described(point)} should be a class derived from {base.__name__}, got {found!r}"
        raise ExtensionError(msg)
    return found


def _described(point: EntryPoint) -> str:
    owner = f" of {point.dist.name}" if point.dist is not None else ""
    return f"the entry point {point.name!r} in {point.group!r}{owner} ({point.value})"
