"""The content-addressed store: what was made, what is half made, and what failed.

Layout of a store folder::

    store.json                       format of the store
    artifacts/KIND/DIGEST/           one committed artifact, with its manifest.json
    partial/KEY/                     progress of an unfinished step
    failures/KEY.json, logs/KEY.log  last failure and log of a step
    damaged/                         artifacts set aside because their content changed
    tmp/                             what is being written
    facts/                           what data sets hold, and where they lie
    tb/                              TensorBoard event files
    sweeps/NAME/                     resolved configuration, records, tables and pictures

An artifact exists if, and only if, its folder does: it is written under a temporary name and
renamed. Nothing here imports torch or Ray.
"""

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdd_ray.core import sweep_files
from pdd_ray.core.errors import DamagedArtifactError, StoreError
from pdd_ray.core.files import flush_to_disk, write_json
from pdd_ray.core.identities import Json, file_digest

STORE_FORMAT = 1
MANIFEST = "manifest.json"
MARKER = "store.json"


@dataclass(frozen=True)
class Failure:
    """Why a step failed last: ``message`` is one line, ``attempts`` counts tries in a row."""

    key: str
    message: str
    attempts: int


@dataclass(frozen=True)
class Listing:
    """The keys of which a store has something, as its folders listed them at one moment.

    Attributes:
        committed: Artifacts.
        reporting: Steps that report their progress, or were killed while they did.
        begun: Steps whose progress was saved.
        failed: Steps of which a failure is written down.
    """

    committed: frozenset[str]
    reporting: frozenset[str]
    begun: frozenset[str]
    failed: frozenset[str]


class Store:
    """A store in a local (or NFS) folder.

    Several processes and machines may use it at once: commits are renames, and two commits of
    one key have the same content, so the first one stays.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().absolute()

    @property
    def exists_on_disk(self) -> bool:
        """Whether the folder is a store."""
        return (self.root / MARKER).is_file()

    def open(self) -> "Store":
        """Create the folder if it is not there and check that it can be written.

        Raises:
            StoreError: if it can't be created or written, or has another format.
        """
        marker = self.root / MARKER
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not marker.exists():
                write_json(marker, {"format": STORE_FORMAT, "made_by": "pdd-ray"})
            probe = self.root / f".probe-{uuid.uuid4().hex[:8]}"
            probe.touch()
            probe.unlink()
            found = json.loads(marker.read_text(encoding="utf-8"))["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = (
                f"the store {self.root} can't be used ({error}); give a folder that can be "
                "written with --store or PDD_RAY_STORE"
            )
            raise StoreError(msg) from error
        if found != STORE_FORMAT:
            msg = (
                f"the store {self.root} has format {found}, this version reads {STORE_FORMAT}; "
                "give another folder with --store"
            )
            raise StoreError(msg)
        return self

    # --- artifacts ---------------------------------------------------------------------------

    def folder(self, key: str) -> Path:
        """Return where the artifact ``key`` is, or would be."""
        kind, _, name = key.rpartition("-")
        return self.root / "artifacts" / kind / name

    def file(self, key: str, name: str) -> str:
        """Return where the file ``name`` of the artifact ``key`` is, or would be.

        As text: making a Path takes longer than reading a small file.
        """
        kind, _, digest = key.rpartition("-")
        return f"{self.root}/artifacts/{kind}/{digest}/{name}"

    def exists(self, key: str) -> bool:
        """Return whether the artifact ``key`` is committed."""
        return os.path.isfile(self.file(key, MANIFEST))  # noqa: PTH113 - see `file`

    def listing(self, kinds: Iterable[str]) -> Listing:
        """Return of which keys there is something; each folder is listed once, however many.

        Artifacts come last: a step that is finished meanwhile is seen as committed.
        """
        failed = _names(self.root / "failures", ".json")
        reporting = _names(self.root / "progress", ".json")
        begun = _names(self.root / "partial")
        committed = frozenset(
            f"{kind}-{name}" for kind in kinds for name in _names(self.root / "artifacts" / kind)
        )
        return Listing(committed, reporting, begun, failed)

    def manifest(self, key: str) -> dict[str, Any]:
        """Return the manifest of ``key``: its files with sizes and digests, and how it was made.

        Raises:
            DamagedArtifactError: if it can't be read.
        """
        manifest = self.find_manifest(key)
        if manifest is None:
            raise DamagedArtifactError(key, "its manifest is missing")
        return manifest

    def find_manifest(self, key: str) -> dict[str, Any] | None:
        """Return the manifest of ``key`` as :meth:`manifest` does; None if it is not committed.

        Raises:
            DamagedArtifactError: if it can't be read.
        """
        try:
            manifest: dict[str, Any] = json.loads(_content(self.file(key, MANIFEST)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise DamagedArtifactError(key, f"its manifest can't be read ({error})") from error
        return manifest

    def verify(self, key: str, *, quick: bool = False) -> None:
        """Compare the files of ``key`` with its manifest.

        ``quick`` trusts the content of files whose size and modification time are as committed.

        Raises:
            DamagedArtifactError: if a file is missing, or differs in size or content.
        """
        self.verify_files(key, self.manifest(key)["files"], quick=quick)

    def verify_files(
        self, key: str, files: Mapping[str, Mapping[str, Any]], *, quick: bool = False
    ) -> None:
        """Compare the files of ``key`` with those of its manifest; see :meth:`verify`."""
        for name, entry in files.items():
            path = self.file(key, name)
            try:
                status = os.stat(path)  # noqa: PTH116 - see `file`
            except OSError as error:
                raise DamagedArtifactError(key, f"{name} is missing") from error
            if status.st_size != entry["size"]:
                reason = f"{name} has {status.st_size} bytes instead of {entry['size']}"
                raise DamagedArtifactError(key, reason)
            if quick and status.st_mtime_ns == entry["mtime_ns"]:
                continue
            if file_digest(Path(path)) != entry["digest"]:
                raise DamagedArtifactError(key, f"{name} does not have its committed content")

    def read(self, key: str, name: str) -> str:
        """Return the text of the small file ``name`` of the artifact ``key``.

        Raises:
            OSError: if it can't be read.
            UnicodeDecodeError: if it is not UTF-8.
        """
        return _content(self.file(key, name))

    def begin(self, key: str) -> Path:
        """Return a fresh folder in which the artifact ``key`` is to be written."""
        return self._temporary(key)

    def commit(self, key: str, folder: Path, info: Mapping[str, Json]) -> None:
        """Make the content of ``folder`` the artifact ``key``; ``info`` goes into its manifest.

        If somebody else has committed the key meanwhile, theirs stays.
        """
        files: dict[str, Json] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                flush_to_disk(path)
                status = path.stat()
                files[path.relative_to(folder).as_posix()] = {
                    "size": status.st_size,
                    "mtime_ns": status.st_mtime_ns,
                    "digest": file_digest(path),
                }
        write_json(folder / MANIFEST, {**info, "key": key, "files": files})
        target = self.folder(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            if not self.exists(key):
                raise
            shutil.rmtree(folder)
        flush_to_disk(target.parent)
        self.clear_progress(key)

    def discard(self, folder: Path) -> None:
        """Remove a folder given by :meth:`begin` whose step failed."""
        shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """Give a folder, whose name begins with ``name``, for the time of a ``with`` block."""
        folder = self._temporary(name)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clear_stale(self, seconds: float) -> None:
        """Remove what writers left that died, and did nothing for at least ``seconds``."""
        for folder in (self.root / "tmp").glob("*"):
            partial = self.root / "partial" / folder.name.rpartition("-")[0]
            touched = [folder, partial, *partial.glob("*")]
            newest = max((path.stat().st_mtime for path in touched if path.exists()), default=0.0)
            if time.time() - newest > seconds:
                shutil.rmtree(folder, ignore_errors=True)

    def _temporary(self, name: str) -> Path:
        folder = self.root / "tmp" / f"{name}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        return folder

    def set_aside(self, key: str) -> Path:
        """Move the artifact ``key`` to ``damaged/`` so that it is made again; return where."""
        name = f"{key}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
        target = self.root / "damaged" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # somebody else has set it aside
            self.folder(key).rename(target)
        return target

    def manifests(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the manifests of all artifacts of ``kind``."""
        for name in sorted(_names(self.root / "artifacts" / kind)):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                yield json.loads(_content(self.file(f"{kind}-{name}", MANIFEST)))

    # --- progress, failures, logs ---------------------------------------------------------------

    def partial(self, key: str) -> Path:
        """Return the folder (made if needed) that holds the progress of the unfinished ``key``."""
        folder = self.root / "partial" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def has_progress(self, key: str) -> bool:
        """Return whether ``key`` was begun: its folder of progress is there."""
        return (self.root / "partial" / key).is_dir()

    def progress_files(self, key: str) -> Iterator[Path]:
        """Yield the files that hold the progress of the unfinished ``key``."""
        return (self.root / "partial" / key).rglob("*")

    def clear_progress(self, key: str) -> None:
        """Remove the progress and the failure of ``key``: it is finished."""
        shutil.rmtree(self.root / "partial" / key, ignore_errors=True)
        self.failure_path(key).unlink(missing_ok=True)

    def failure_path(self, key: str) -> Path:
        """Return where the last failure of ``key`` is written."""
        return self.root / "failures" / f"{key}.json"

    def record_failure(self, key: str, message: str) -> Failure:
        """Write down that a try of ``key`` failed, and return it with the number of tries."""
        before = self.failure(key)
        failure = Failure(key, message, attempts=before.attempts + 1 if before else 1)
        write_json(
            self.failure_path(key), {"message": failure.message, "attempts": failure.attempts}
        )
        return failure

    def failure(self, key: str) -> Failure | None:
        """Return the last failure of ``key``, if its last try failed."""
        try:
            entry = json.loads(self.failure_path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return Failure(key, str(entry["message"]), int(entry["attempts"]))

    def log_path(self, key: str) -> Path:
        """Return where the log of ``key`` is written."""
        return self.root / "logs" / f"{key}.log"

    @property
    def ray_log(self) -> Path:
        """The log of Ray itself."""
        return self.root / "logs" / "ray.log"

    def progress_path(self, key: str) -> Path:
        """Return the small file in which the last report of the running step ``key`` is."""
        return self.root / "progress" / f"{key}.json"

    # --- data sets -----------------------------------------------------------------------------

    @property
    def facts(self) -> Path:
        """The folder in which is remembered what data sets hold, and where they lie."""
        return self.root / "facts"

    # --- sweeps --------------------------------------------------------------------------------

    def tensorboard(self) -> Path:
        """Return the folder of TensorBoard event files."""
        return self.root / "tb"

    def tensorboard_run(self, label: str, key: str) -> Path:
        """Return the folder of the event files of ``key``: made already, or named by ``label``."""
        end = key[-8:]
        made = sorted(self.tensorboard().glob(f"*-{end}"))
        return made[0] if made else self.tensorboard() / f"{label.replace('/', '.')}-{end}"

    def sweep_folder(self, name: str) -> Path:
        """Return the folder of the sweep ``name``."""
        return self.root / "sweeps" / name

    def sweep_names(self) -> list[str]:
        """Return the names of the sweeps that were run on this store."""
        return self._folders_with(sweep_files.SWEEP)

    def collection_names(self) -> list[str]:
        """Return the names of the collections of sweeps that were run on this store."""
        return self._folders_with(sweep_files.COLLECTION)

    def _folders_with(self, file: str) -> list[str]:
        return sorted(path.parent.name for path in self.root.glob(f"sweeps/*/{file}"))


def _content(path: str) -> str:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - see `Store.file`
        return file.readall().decode("utf-8")


def _names(folder: Path, suffix: str = "") -> frozenset[str]:
    """Return the names in ``folder`` that end in ``suffix``, without it; none if it is not there.

    What is being written there has names that begin with a dot.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return frozenset()
    return frozenset(
        name.removesuffix(suffix)
        for name in names
        if name.endswith(suffix) and not name.startswith(".")
    )
