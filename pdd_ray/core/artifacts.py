"""The artifacts of a store as one command finds them: each manifest is read at most once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pdd_ray.core.errors import DamagedArtifactError
from pdd_ray.core.provenance import device_text, numerics_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_ray.core.store import Store


@dataclass(frozen=True, slots=True)
class Maker:
    """What an artifact was made by; None for what its manifest does not say.

    Attributes:
        version: Version of pdd-ray.
        commit: Its commit.
        python: Version of Python.
        torch: Version of torch; None if the step did not load it.
        host: Name of the machine.
        machine: Its architecture.
        device: What it computed on, with the libraries for it.
        numerics: Precision and determinism.
        gpus: GPUs that the step held.
        threads: Its threads.
    """

    version: str | None
    commit: str | None
    python: str | None
    torch: str | None
    host: str | None
    machine: str | None
    device: str
    numerics: str
    gpus: float | None
    threads: int | None


@dataclass(frozen=True, slots=True)
class Making:
    """How an artifact was made: what commands tell of its manifest, which takes far more memory.

    Attributes:
        key: The artifact.
        told_seconds: How long it took; None if its manifest does not say so.
        told_cpu_seconds: Of CPUs; None likewise (in manifests of earlier versions).
        inputs: Keys of its inputs by name.
        finished: When it was finished, as text; None likewise.
        disk: Bytes of its files.
        maker: What it was made by.
        data: Source and fingerprint, of a prepared data set.
    """

    key: str
    told_seconds: float | None
    told_cpu_seconds: float | None
    inputs: Mapping[str, str]
    finished: str | None
    disk: int
    maker: Maker
    data: tuple[str, str] | None

    @property
    def seconds(self) -> float:
        """How long it took.

        Raises:
            DamagedArtifactError: if its manifest does not say so.
        """
        if self.told_seconds is None:
            raise DamagedArtifactError(self.key, "its manifest does not say how long it took")
        return self.told_seconds

    @property
    def cpu_seconds(self) -> float:
        """CPU time, as the manifest says, or else that of all its threads for as long as it took.

        Raises:
            DamagedArtifactError: if its manifest says neither.
        """
        if self.told_cpu_seconds is not None:
            return self.told_cpu_seconds
        return self.seconds * (self.maker.threads or 1)


class Artifacts:
    """Reads the manifests that a command needs, each once, and remembers how each was made.

    It belongs to one command: what is committed or set aside meanwhile is not seen.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._found: dict[str, Making | DamagedArtifactError | None] = {}
        self._makers: dict[Maker, Maker] = {}

    def is_whole(self, key: str) -> bool:
        """Return whether ``key`` is committed, its files compared as by a quick ``verify``.

        Raises:
            DamagedArtifactError: if it is not what was committed.
        """
        manifest = self.store.find_manifest(key)
        if manifest is None:
            self._found[key] = None
            return False
        self.store.verify_files(key, manifest["files"], quick=True)
        self._found[key] = self._making(key, manifest)
        return True

    def making(self, key: str) -> Making | None:
        """Return how ``key`` was made; None if it is not committed.

        Raises:
            DamagedArtifactError: if its manifest can't be read, or does not say it.
        """
        if key not in self._found:
            manifest = self.store.find_manifest(key)
            self._found[key] = None if manifest is None else self._making(key, manifest)
        found = self._found[key]
        if isinstance(found, DamagedArtifactError):
            raise found
        return found

    def _making(self, key: str, manifest: Mapping[str, Any]) -> Making | DamagedArtifactError:
        """Return how ``key`` was made, or why its manifest does not say it."""
        maker = Maker(
            version=manifest.get("pdd_ray"),
            commit=manifest.get("commit"),
            python=manifest.get("python"),
            torch=manifest.get("torch"),
            host=manifest.get("host"),
            machine=manifest.get("machine"),
            device=device_text(manifest),
            numerics=numerics_text(manifest),
            gpus=manifest.get("gpus"),
            threads=manifest.get("threads"),
        )
        try:
            return Making(
                key=key,
                told_seconds=manifest.get("seconds"),
                told_cpu_seconds=manifest.get("cpu_seconds"),
                inputs=manifest["inputs"],
                finished=manifest.get("finished"),
                disk=sum(file["size"] for file in manifest["files"].values()),
                maker=self._makers.setdefault(maker, maker),
                data=_data(manifest.get("config", {})),
            )
        except (KeyError, TypeError, AttributeError) as error:
            reason = f"its manifest does not say how it was made ({type(error).__name__}: {error})"
            return DamagedArtifactError(key, reason)


def _data(config: Mapping[str, Any]) -> tuple[str, str] | None:
    if "fingerprint" not in config or "spec" not in config:
        return None
    return str(config["spec"]["source"]), str(config["fingerprint"])
