"""Loading sweeps by file, preset or name in the store, with all experiments they expand to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdd_ray.configuration import yaml
from pdd_ray.configuration.collection import CollectionSpec
from pdd_ray.configuration.devices import check_gpus
from pdd_ray.configuration.document import Place, from_plain
from pdd_ray.configuration.expand import LoadedSweep, checked_settings, experiments_of
from pdd_ray.configuration.experiment import EqualStagesSpec, ExperimentSpec
from pdd_ray.configuration.explain import suggestion, validate
from pdd_ray.configuration.merge import canonical_variant, undot
from pdd_ray.configuration.overrides import OVERRIDE, apply_overrides
from pdd_ray.configuration.sweep import SweepSpec
from pdd_ray.core import sweep_files
from pdd_ray.core.dotted import grid_key
from pdd_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.resources.abc import Traversable

    from pdd_ray.configuration.document import Node
    from pdd_ray.configuration.expand import SettingDocument
    from pdd_ray.core.identities import Json
    from pdd_ray.core.store import Store

_POSITION = re.compile(r"[^:]+:(\d+):(\d+): ")
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Collection:
    """Sweeps that are run together, and what they are called; a single sweep is one of itself."""

    name: str
    description: str
    sweeps: tuple[LoadedSweep, ...]

    @classmethod
    def of(cls, sweep: LoadedSweep) -> Collection:
        """Return ``sweep`` as a collection of itself."""
        return cls(sweep.name, sweep.spec.description, (sweep,))

    @property
    def single(self) -> bool:
        """Whether it is a sweep by itself."""
        return len(self.sweeps) == 1 and self.sweeps[0].name == self.name


def load_collection(
    source: str, overrides: Sequence[str] = (), store: Store | None = None
) -> Collection:
    """Return the collection ``source``, or the sweep ``source`` as a collection of one.

    Args:
        source: As for :func:`load_sweep`; a file with a key ``sweeps`` is a collection.
        overrides: Changes of every sweep.
        store: Where else to look for a name.

    Raises:
        ConfigError: as for :func:`load_sweep`, or if two sweeps have the same name.
    """
    root, name, folder = _parse(source, store)
    if root.get("sweeps") is None:
        return Collection.of(_changed_sweep(root, name, folder, overrides))
    spec = validate(CollectionSpec, root)
    sweeps = tuple(load_sweep(_member(entry, folder), overrides, store) for entry in spec.sweeps)
    names = [sweep.name for sweep in sweeps]
    repeated = [each for each in names if names.count(each) > 1]
    if repeated or spec.name in names:
        msg = f"{name}: the name {(repeated or [spec.name])[0]!r} is used twice in the collection"
        raise ConfigError(msg)
    return Collection(spec.name, spec.description, sweeps)


def _member(entry: str, folder: Path) -> str:
    beside = folder / entry
    return str(beside) if beside.is_file() else entry


def load_sweep(
    source: str, overrides: Sequence[str] = (), store: Store | None = None
) -> LoadedSweep:
    """Return the sweep ``source`` changed by ``overrides``, with its experiments.

    Args:
        source: A YAML or JSON file; the name of a preset (``demo``, ``cpu/cifar10_stages``); or
            the name of a sweep that was run on ``store``.
        overrides: ``KEY=VALUE``, see :func:`pdd_ray.configuration.overrides.apply_overrides`.
        store: Where else to look for a name.

    Raises:
        ConfigError: if there is no such sweep or something in it is wrong; one line per problem.
    """
    root, name, folder = _parse(source, store)
    if root.get("sweeps") is not None:
        raise ConfigError(f"{name}: a collection of sweeps; a single sweep is needed here")
    return _changed_sweep(root, name, folder, overrides)


def sweep_from(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> LoadedSweep:
    """Return the sweep that a file with the content ``values`` would be.

    Args:
        values: The keys of a sweep file, in JSON types (paths are allowed too, and are relative
            to the current folder).
        overrides: ``KEY=VALUE``, as for :func:`load_sweep`.

    Raises:
        ConfigError: if something in it is wrong; one line per problem.
    """
    plain = json.loads(json.dumps(values, default=str))
    root = from_plain(plain, Place("the sweep given: ", ""))
    return _changed_sweep(root, "the sweep given", Path.cwd(), overrides)


def _changed_sweep(root: Node, name: str, folder: Path, overrides: Sequence[str]) -> LoadedSweep:
    """Return the document ``root``, whose paths start at ``folder``, as a sweep."""
    root = _resolve_roots(root, folder)
    if not isinstance(root.value, dict):
        raise ConfigError(
            f"{name}: a sweep is a mapping with at least a `name`, got {root.value!r}"
        )
    root = root.with_value(_canonical(root))
    root = _resolve_roots(apply_overrides(root, overrides), Path.cwd())
    return check_sweep(root)


def check_sweep(root: Node) -> LoadedSweep:
    """Return the document ``root`` as a sweep, with the experiments it expands to.

    Raises:
        ConfigError: if it, or an experiment it expands to, is not valid; one line per problem.
    """
    problems: dict[str, None] = {}
    found: list[tuple[SettingDocument, ExperimentSpec]] = []
    sweep = None
    try:
        found = checked_settings(root)
    except ConfigError as error:
        problems.update(dict.fromkeys(str(error).splitlines()))
    others = {key: node for key, node in root.mapping().items() if not problems or key != "grid"}
    try:
        sweep = validate(SweepSpec, root.with_value(others))
    except ConfigError as error:
        problems.update(dict.fromkeys(str(error).splitlines()))
    if problems or sweep is None:
        raise ConfigError("\n".join(sorted(problems, key=_line_and_column)))
    check_gpus(root, sweep.resources, (spec for _, spec in found))
    _check_effect(root, [setting for setting, _ in found])
    return LoadedSweep(sweep, tuple(experiments_of(sweep, found)))


def _line_and_column(problem: str) -> tuple[int, int]:
    found = _POSITION.match(problem)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def resolved(sweep: SweepSpec) -> dict[str, Json]:
    """Return ``sweep`` with all defaults, in reading order; a file with it is the same sweep."""
    values = sweep.to_json()
    first = ("name", "description", "seeds")
    return {key: values[key] for key in (*first, *(key for key in values if key not in first))}


def presets() -> list[str]:
    """Return the names of the sweeps that come with the package."""
    return sorted(_presets_in(presets_folder(), ""))


def presets_folder() -> Path:
    """Return the folder of the presets: inside an installed package, beside that of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "sweeps"
    return installed if installed.is_dir() else package.parent / "sweeps"


def sweep_schema() -> dict[str, Any]:
    """Return the JSON schema of a sweep file, for editors."""
    schema = SweepSpec.model_json_schema()
    stages = schema["properties"]["stages"]
    as_list = {key: stages.pop(key) for key in ("items", "minItems", "type")}
    schema["$defs"]["EqualStagesSpec"] = EqualStagesSpec.model_json_schema()
    stages["anyOf"] = [{"$ref": "#/$defs/EqualStagesSpec"}, as_list]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _parse(source: str, store: Store | None) -> tuple[Node, str, Path]:
    """Return the document ``source``, its name in messages, and where its paths start."""
    text, name, folder = _read(source, store)
    return yaml.parse(text, name), name, folder


def _read(source: str, store: Store | None) -> tuple[str, str, Path]:
    """Return the text of ``source``, its name in messages, and where its paths start."""
    path = Path(source).expanduser()
    if path.is_file():
        return _text_of(path, source), source, path.absolute().parent
    stem = source.removesuffix(".yaml")
    if stem in presets():
        preset = presets_folder() / f"{stem}.yaml"
        return _text_of(preset, source), f"{stem}.yaml", Path.cwd()
    if store is not None and source in store.sweep_names():
        saved = store.sweep_folder(source) / sweep_files.SWEEP
        return _text_of(saved, source), str(saved), saved.parent
    if store is not None and source in store.collection_names():
        saved = store.sweep_folder(source) / sweep_files.COLLECTION
        return _text_of(saved, source), str(saved), saved.parent
    raise ConfigError(_not_found(source, store))


def _text_of(path: Traversable | Path, source: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the sweep {source} can't be read: {error}") from error


def _not_found(source: str, store: Store | None) -> str:
    path = Path(source).expanduser()
    ran = [*store.sweep_names(), *store.collection_names()] if store else []
    meant = suggestion(source, [*presets(), *ran])
    lines = [f"no sweep {source!r}: it is not a file, a preset or a sweep of the store{meant}"]
    if path.suffix in _SUFFIXES and path.parent.is_dir():
        near = sorted(other.name for other in path.parent.iterdir() if other.suffix in _SUFFIXES)
        lines.append(f"files in {path.parent}: {', '.join(near) or 'none'}")
    lines.append(f"presets: {', '.join(presets()) or 'none'}")
    if store:
        lines.append(f"sweeps of the store {store.root}: {', '.join(ran) or 'none'}")
    return "\n".join(lines)


def _presets_in(folder: Traversable, prefix: str) -> list[str]:
    names: list[str] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            names += _presets_in(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            names.append(prefix + entry.name.removesuffix(".yaml"))
    return names


def _canonical(root: Node) -> dict[str, Node]:
    """Return the entries of a sweep with dotted keys nested; an empty variant changes nothing."""
    entries = undot(root.mapping())
    variants = entries.get("variants")
    if variants is not None and isinstance(variants.value, dict):
        nested = {
            name: node.with_value(canonical_variant(node)) for name, node in variants.value.items()
        }
        entries["variants"] = variants.with_value(nested)
    return entries


def _resolve_roots(node: Node, folder: Path, keys: str = "") -> Node:
    """Return ``node`` with every data.root absolute: `~` expanded, relative to ``folder``."""
    if isinstance(node.value, dict):
        entries = node.value.items()
        return node.with_value({k: _resolve_roots(v, folder, f"{keys}.{k}") for k, v in entries})
    if isinstance(node.value, list):
        return node.with_value([_resolve_roots(item, folder, keys) for item in node.value])
    if isinstance(node.value, str) and node.value and keys.endswith(".data.root"):
        return node.with_value(str((folder / Path(node.value).expanduser()).absolute()))
    return node


def _check_effect(root: Node, found: Sequence[SettingDocument]) -> None:
    """Raise a ConfigError for an override that variants or axes hide in every experiment."""
    seen = {node.place for setting in found for node in setting.document.walk()}
    experiment = (root.get(key) for key in ExperimentSpec.model_fields)
    given = [node for key in experiment if key for node in key.walk()]
    hidden = [
        f"{node.place}: no effect, since every variant or a grid axis sets this key; override "
        f"{grid_key(node.place.path)} or variants.NAME.{node.place.path} instead"
        for node in given
        if node.place.prefix == OVERRIDE and not node.children() and node.place not in seen
    ]
    if hidden:
        raise ConfigError("\n".join(dict.fromkeys(hidden)))
