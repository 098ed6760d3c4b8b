"""What is known of a data set before anything is computed, without torch."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pdd_ray.configuration.data import DataSpec
from pdd_ray.core.errors import DataError
from pdd_ray.core.identities import Json
from pdd_ray.data.content import Content, read_entry, remembered, write_entry
from pdd_ray.data.listing import Listing, list_image_folder, list_tiny_imagenet
from pdd_ray.data.published import DIGITS, PUBLISHED
from pdd_ray.data.shape import prepared_shape
from pdd_ray.data.split import validation_size

LISTINGS = {"image_folder": list_image_folder, "tiny_imagenet": list_tiny_imagenet}
"""Sources made of image files."""


@dataclass(frozen=True)
class DataFacts:
    """What plans need to know of a data set.

    Attributes:
        fingerprint: Digest of the content (file bytes, names), not of where it lies.
        classes: Class names, by label.
        shape: (C, H, W) after channels, resize and pool.
        train_counts: Training images per class, before the validation split.
        test_counts: Test images per class.
    """

    fingerprint: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]


def read_facts(spec: DataSpec, cache: Path) -> DataFacts:
    """Return the facts of a data set, and remember where it lies for the step that reads it.

    Files are read once; as long as their sizes and times stay, they are looked up in ``cache``,
    the folder ``facts`` of a store.

    Raises:
        DataError: if the data set is missing, incomplete or not readable, or does not fit the
            configuration.
    """
    content = find_content(spec, cache)
    for name, count in zip(content.classes, content.train_counts, strict=True):
        if count < 2:
            msg = (
                f"class {name!r} of {spec.root} has {count} training image; at least 2 are needed, "
                "one of them for validation"
            )
            raise DataError(msg)
    facts = DataFacts(
        fingerprint=content.fingerprint,
        classes=content.classes,
        shape=prepared_shape(spec, content),
        train_counts=content.train_counts,
        test_counts=content.test_counts,
    )
    _remember_location(spec, facts.fingerprint, cache)
    return facts


def validation_counts(facts: DataFacts, fraction: float) -> tuple[int, ...]:
    """Return how many training images per class the validation slice takes."""
    return tuple(validation_size(count, fraction) for count in facts.train_counts)


def step_config(spec: DataSpec, facts: DataFacts) -> dict[str, Json]:
    """Return the configuration of the data step: all of ``spec`` but where the images lie."""
    config = spec.to_json()
    return {
        "spec": {name: value for name, value in config.items() if name not in ("root", "download")},
        "fingerprint": facts.fingerprint,
    }


def location_path(fingerprint: str, cache: Path) -> Path:
    """Return the file that says where the data set of this content lies on this machine."""
    return cache / f"{fingerprint}.json"


def absolute_root(spec: DataSpec) -> Path:
    """Return ``spec.root`` as an absolute path, ``~`` expanded; the source must have one."""
    return (spec.root or Path()).expanduser().absolute()


def list_files(spec: DataSpec) -> Listing:
    """Return the files of a source that is made of image files.

    Raises:
        DataError: if its layout is another one.
    """
    return LISTINGS[spec.source](absolute_root(spec))


def find_content(spec: DataSpec, cache: Path) -> Content:
    """Return what the data set holds, remembered or examined.

    Raises:
        DataError: if it is missing, incomplete or not readable.
    """
    if spec.source == "digits":
        return DIGITS
    root = absolute_root(spec)
    if spec.source in LISTINGS:
        listing = list_files(spec)
        examine = partial(_examine_images, listing)
        return remembered(cache, spec.source, root, listing.paths(), examine)
    if spec.source == "npz":
        return _content_of_npz(root, cache)
    published = PUBLISHED[spec.source]
    if published.missing(root):
        return published.content if spec.download else published.verify(root)
    return remembered(cache, spec.source, root, published.files, partial(published.verify, root))


def _content_of_npz(path: Path, cache: Path) -> Content:
    if not path.is_file():
        msg = f"data.root {path} is not a file; source npz needs the path of an .npz file"
        raise DataError(msg)
    return remembered(cache, "npz", path, ("",), partial(_examine_npz, path))


def _examine_npz(path: Path) -> Content:
    from pdd_ray.data.npz import examine_npz  # imports numpy

    return examine_npz(path)


def _examine_images(listing: Listing) -> Content:
    from pdd_ray.data.images import examine_images  # imports numpy and Pillow

    return examine_images(listing)


def _remember_location(spec: DataSpec, fingerprint: str, cache: Path) -> None:
    root = None if spec.root is None else str(absolute_root(spec))
    location = {"root": root, "download": spec.download}
    path = location_path(fingerprint, cache)
    if read_entry(path) != location:
        write_entry(path, location)
