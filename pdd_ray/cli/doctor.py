"""The command ``doctor``, which checks whether this machine can run sweeps."""

from __future__ import annotations

import typer

import pdd_ray
from pdd_ray.api.stores import DEFAULT_STORE
from pdd_ray.cli.messages import show
from pdd_ray.cli.options import StoreOption


def check(store: StoreOption = DEFAULT_STORE) -> None:
    """Check whether this machine can run sweeps.

    Looks at Python, packages, memory, GPUs, the store and the compiler; exits with 1 if
    something has to be changed.
    """
    findings = pdd_ray.doctor(store=store)
    for finding in findings:
        show(str(finding))
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)
