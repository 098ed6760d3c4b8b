"""Where the results come from: versions, commit, machines, data."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from pdd_ray.core.version import VERSION, code_commit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdd_ray.core.artifacts import Maker
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
    makings = list(snapshot.makings.values())
    makers = Counter(making.maker for making in makings)
    shown: Counter[tuple[tuple[str, str], ...]] = Counter()
    for maker, count in makers.items():
        shown[_shown(maker)] += count
    times = [making.finished for making in makings if making.finished is not None]
    data = {making.data for making in makings if making.data is not None}
    return Provenance(
        version=VERSION,
        commit=code_commit(),
        python=platform.python_version(),
        packages=_versions(),
        made_by=tuple((dict(maker), count) for maker, count in shown.most_common()),
        first=min(times, default=None),
        last=max(times, default=None),
        data=tuple(sorted(data)),
    )


def _shown(maker: Maker) -> tuple[tuple[str, str], ...]:
    """Return what a page tells of ``maker``, by name."""
    code = f"{maker.version} ({maker.commit})" if maker.commit else str(maker.version)
    return (
        ("pdd-ray", code),
        ("python", str(maker.python)),
        ("torch", str(maker.torch or "not loaded")),
        ("host", str(maker.host)),
        ("machine", str(maker.machine)),
        ("device", maker.device),
        ("numerics", maker.numerics),
        ("threads", str(maker.threads)),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
