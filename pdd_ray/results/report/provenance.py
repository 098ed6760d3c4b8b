"""Where the results come from: versions, commit, machines, data."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from pdd_ray.core.version import VERSION, code_commit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_ray.results.report.snapshot import Snapshot

PACKAGES = (
    "torch",
    "torchvision",
    "ray",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "matplotlib",
    "pillow",
    "safetensors",
    "pydantic",
)


@dataclass(frozen=True)
class Provenance:
    """Where the results come from.

    Attributes:
        version: Version of pdd-ray that wrote the page.
        commit: Its git commit, with a mark if files differ from it; None outside a checkout.
        python: Version of Python that wrote the page.
        packages: Versions of other packages there.
        made_by: How many steps were done with each combination of pdd-ray, Python, torch, machine,
            host, device and numerics, the most frequent one first.
        first: Time at which the first step was finished; None if none is.
        last: The same of the last one.
        data: Source and fingerprint of each prepared data set.
    """

    version: str
    commit: str | None
    python: str
    packages: Mapping[str, str]
    made_by: tuple[tuple[Mapping[str, str], int], ...]
    first: str | None
    last: str | None
    data: tuple[tuple[str, str], ...]


def read_provenance(snapshot: Snapshot) -> Provenance:
    """Return where the results come from."""
    manifests = list(snapshot.manifests.values())
    makers = Counter(
        (
            ("pdd-ray", _code(manifest)),
            ("python", str(manifest.get("python"))),
            ("torch", str(manifest.get("torch") or "not loaded")),
            ("host", str(manifest.get("host"))),
            ("machine", str(manifest.get("machine"))),
            ("device", device_text(manifest)),
            ("numerics", numerics_text(manifest)),
            ("threads", str(manifest.get("threads"))),
        )
        for manifest in manifests
    )
    times = sorted(str(manifest["finished"]) for manifest in manifests)
    data = {
        (str(config["spec"]["source"]), str(config["fingerprint"]))
        for config in (manifest["config"] for manifest in manifests)
        if "fingerprint" in config and "spec" in config
    }
    return Provenance(
        version=VERSION,
        commit=code_commit(),
        python=platform.python_version(),
        packages=_versions(),
        made_by=tuple((dict(maker), count) for maker, count in makers.most_common()),
        first=times[0] if times else None,
        last=times[-1] if times else None,
        data=tuple(sorted(data)),
    )


def _code(manifest: Mapping[str, Any]) -> str:
    """Return version and commit of pdd-ray that made an artifact."""
    commit = manifest.get("commit")
    return f"{manifest.get('pdd_ray')} ({commit})" if commit else str(manifest.get("pdd_ray"))


def device_text(manifest: Mapping[str, Any]) -> str:
    """Return the device of a step with the libraries for it, as far as its manifest has them."""
    device = manifest.get("device")
    if device is None:  # of an earlier version
        return "GPU" if manifest.get("gpus") else "CPU"
    libraries = {"CUDA": "cuda", "ROCm": "rocm", "cuDNN": "cudnn"}
    found = [f"{name} {device[key]}" for name, key in libraries.items() if device.get(key)]
    return ", ".join([device["name"] or device["type"], *found])


def numerics_text(manifest: Mapping[str, Any]) -> str:
    """Return the precision of products in float32, and whether the step was deterministic."""
    numerics = manifest.get("numerics", {})
    words = ["TF32" if numerics.get("tf32") else "float32"]
    return ", ".join([*words, *(["deterministic"] if numerics.get("deterministic") else [])])


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
