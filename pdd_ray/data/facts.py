"""What is known of a data set before anything is computed, without torch."""

from dataclasses import dataclass, replace
from pathlib import Path

from pdd_ray.core.errors import DataError
from pdd_ray.core.identities import Json
from pdd_ray.data.content import Content, read_entry, write_entry
from pdd_ray.data.shape import prepared_shape
from pdd_ray.data.spec import DataSpec
from pdd_ray.data.split import validation_size


@dataclass(frozen=True)
class DataFacts:
    """What plans need to know of a data set.

    Attributes:
        fingerprint: Digest of the content (file bytes, names), not of where it lies.
        classes: Class names, by label.
        shape: (C, H, W) after channels, resize and pool.
        train_counts: Training images per class, before the validation split.
        test_counts: Test images per class.
        absent: Why the data set could not be read, if these are the facts that are published of
            it: enough to plan, not to run.
    """

    fingerprint: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    absent: str = ""


def read_facts(spec: DataSpec, cache: Path) -> DataFacts:
    """Return the facts of a data set, and remember where it lies for the step that reads it.

    Files are read once; as long as their sizes and times stay, they are looked up in ``cache``,
    the folder ``facts`` of a store.

    Raises:
        DataError: if the data set is missing, incomplete or not readable, or does not fit the
            configuration.
    """
    facts = _facts(spec, spec.open().content(cache))
    _remember_location(spec, facts.fingerprint, cache)
    return facts


def read_or_known_facts(spec: DataSpec, cache: Path) -> DataFacts:
    """Return the facts of a data set, or those that are published of one that is not there.

    Raises:
        DataError: as :func:`read_facts`, if nothing is published of it, or a part of it is there.
    """
    try:
        return read_facts(spec, cache)
    except DataError as error:
        known = known_facts(spec)
        if known is None:
            raise
        return replace(known, absent=str(error))


def known_facts(spec: DataSpec) -> DataFacts | None:
    """Return the facts that are published of a data set that is not there; None otherwise."""
    content = spec.open().known()
    return None if content is None else _facts(spec, content)


def _facts(spec: DataSpec, content: Content) -> DataFacts:
    for name, count in zip(content.classes, content.train_counts, strict=True):
        if count < 2:
            msg = (
                f"class {name!r} of {spec.root} has {count} training image; at least 2 are needed, "
                "one of them for validation"
            )
            raise DataError(msg)
    return DataFacts(
        fingerprint=content.fingerprint,
        classes=content.classes,
        shape=prepared_shape(spec, content),
        train_counts=content.train_counts,
        test_counts=content.test_counts,
    )


def validation_counts(facts: DataFacts, fraction: float) -> tuple[int, ...]:
    """Return how many training images per class the validation slice takes."""
    return tuple(validation_size(count, fraction) for count in facts.train_counts)


def step_config(spec: DataSpec, facts: DataFacts) -> dict[str, Json]:
    """Return the configuration of the data step: all of ``spec`` but where the images lie."""
    config = spec.identity()
    return {
        "spec": {name: value for name, value in config.items() if name not in ("root", "download")},
        "fingerprint": facts.fingerprint,
    }


def location_path(fingerprint: str, cache: Path) -> Path:
    """Return the file that says where the data set of this content lies on this machine."""
    return cache / f"{fingerprint}.json"


def _remember_location(spec: DataSpec, fingerprint: str, cache: Path) -> None:
    root = None if spec.root is None else str(spec.open().root)
    location = {"root": root, "download": spec.download}
    path = location_path(fingerprint, cache)
    if read_entry(path) != location:
        write_entry(path, location)
