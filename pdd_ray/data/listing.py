"""Data sets made of image files: which files there are, and which class each belongs to."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdd_ray.core.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
OTHER_IMAGE_SUFFIXES = (".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""Images that would be left out silently if we did not refuse them."""

FOLDER_LAYOUT = "train/CLASS/*.png and test/CLASS/*.png (or .jpg, .jpeg)"
TINY_LAYOUT = "train/WNID/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt"


@dataclass(frozen=True)
class ImageFile:
    """An image file: its path relative to the data set's folder, with ``/``, and its label."""

    path: str
    label: int


@dataclass(frozen=True)
class Listing:
    """The files of a data set; ``classes`` are sorted, files are in the order of their names."""

    source: str
    root: Path
    classes: tuple[str, ...]
    train: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]

    def paths(self) -> Iterator[str]:
        """Yield the path of every file, relative to ``root``."""
        return (file.path for file in (*self.train, *self.test))

    def counts(self, files: Sequence[ImageFile]) -> tuple[int, ...]:
        """Return how many of ``files`` each class has."""
        counts = [0] * len(self.classes)
        for file in files:
            counts[file.label] += 1
        return tuple(counts)


def list_image_folder(root: Path) -> Listing:
    """Return the files of ``train/CLASS/*`` and ``test/CLASS/*``.

    Raises:
        DataError: if a folder is missing or empty, or train and test differ in their classes.
    """
    for split in ("train", "test"):
        _need_folder(root, split, FOLDER_LAYOUT)
    classes = _folders(root / "train")
    _check_same_classes(root, classes, _folders(root / "test"))
    files = {
        split: tuple(
            ImageFile(f"{split}/{name}/{file}", label)
            for label, name in enumerate(classes)
            for file in _images(root / split / name)
        )
        for split in ("train", "test")
    }
    return Listing("image_folder", root, classes, files["train"], files["test"])


def list_tiny_imagenet(root: Path) -> Listing:
    """Return the files of Tiny-ImageNet as it is distributed; its validation split is the test.

    Classes are the sorted identifiers that have a training folder, so that a subset of the
    classes is a data set too; validation images of other classes are left out.

    Raises:
        DataError: if the layout is another one, or a class has no images.
    """
    _need_folder(root, "train", TINY_LAYOUT)
    _need_folder(root, "val/images", TINY_LAYOUT)
    classes = _folders(root / "train")
    if not classes:
        msg = f"{root / 'train'} has no class folders; expected {TINY_LAYOUT}"
        raise DataError(msg)
    train = tuple(
        ImageFile(f"train/{name}/images/{file}", label)
        for label, name in enumerate(classes)
        for file in _images(root / "train" / name / "images")
    )
    test = _annotated_files(root, {name: label for label, name in enumerate(classes)})
    tested = {file.label for file in test}
    missing = [name for label, name in enumerate(classes) if label not in tested]
    if missing:
        msg = (
            f"class {missing[0]!r} of {root / 'train'} has no images in val/val_annotations.txt; "
            "add them, or remove the class from train"
        )
        raise DataError(msg)
    return Listing("tiny_imagenet", root, classes, train, test)


def _annotated_files(root: Path, labels: dict[str, int]) -> tuple[ImageFile, ...]:
    """Return the files of ``val/images`` whose class, by ``val_annotations.txt``, is in labels."""
    annotations = _annotations(root / "val" / "val_annotations.txt")
    present = _images(root / "val" / "images")
    unknown = [name for name in present if name not in annotations]
    if unknown:
        msg = f"val/images/{unknown[0]} in {root} is not in val/val_annotations.txt; remove it"
        raise DataError(msg)
    wanted = {name for name, wnid in annotations.items() if wnid in labels}
    missing = wanted.difference(present)
    if missing:
        msg = (
            f"val/val_annotations.txt in {root} names {min(missing)}, which is not in val/images; "
            "unpack the archive again"
        )
        raise DataError(msg)
    chosen = [name for name in present if name in wanted]
    return tuple(ImageFile(f"val/images/{name}", labels[annotations[name]]) for name in chosen)


def _annotations(path: Path) -> dict[str, str]:
    """Return the class of each validation image; lines are ``file<TAB>wnid<TAB>box``."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} can't be read ({error}); expected {TINY_LAYOUT}"
        raise DataError(msg) from error
    classes: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split("\t")
        if len(fields) < 2:
            msg = f"{path}, line {number}: expected file<TAB>class, got {line[:60]!r}"
            raise DataError(msg)
        classes[fields[0]] = fields[1]
    return classes


def _need_folder(root: Path, name: str, layout: str) -> None:
    if not root.is_dir():
        state = "is a file, not a folder" if root.exists() else "does not exist"
        msg = f"data.root {root} {state}; give the folder that holds {layout}"
        raise DataError(msg)
    if not (root / name).is_dir():
        msg = f"{root} has no folder {name!r}; expected {layout}"
        raise DataError(msg)


def _check_same_classes(root: Path, train: tuple[str, ...], test: tuple[str, ...]) -> None:
    if not train:
        msg = f"{root / 'train'} has no class folders; expected {FOLDER_LAYOUT}"
        raise DataError(msg)
    for name in train:
        if name not in test:
            msg = f"class {name!r} is in {root / 'train'} but not in test; add test/{name}"
            raise DataError(msg)
    for name in test:
        if name not in train:
            msg = f"class {name!r} is in {root / 'test'} but not in train; remove test/{name}"
            raise DataError(msg)


def _folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in _visible(folder) if entry.is_dir()))


def _images(folder: Path) -> list[str]:
    """Return the names of the image files in ``folder``, sorted.

    Raises:
        DataError: if there are none, or images of a kind that is not read.
    """
    names: list[str] = []
    for entry in _visible(folder):
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - ten times as fast
        if suffix in OTHER_IMAGE_SUFFIXES:
            msg = f"{folder / entry.name} is neither PNG nor JPEG; convert it or remove it"
            raise DataError(msg)
        if suffix in IMAGE_SUFFIXES:
            names.append(entry.name)
    if not names:
        msg = (
            f"{folder} has no {', '.join(IMAGE_SUFFIXES)} files (folders in it are not searched); "
            "add images or remove the folder"
        )
        raise DataError(msg)
    return sorted(names)


def _visible(folder: Path) -> "list[os.DirEntry[str]]":
    """Return what is in ``folder``, without names that start with a dot."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        msg = f"{folder} can't be read ({error.strerror}); give a folder of images"
        raise DataError(msg) from error
