"""Filling the templates of the pages; all text is escaped."""

from __future__ import annotations

import re
import time
from importlib import resources
from typing import TYPE_CHECKING, Any

from pdd_ray.core.text import duration
from pdd_ray.results.saved_sweeps import StepState

if TYPE_CHECKING:
    from markupsafe import Markup


def render(template: str, now: float, **values: Any) -> str:  # noqa: ANN401 - what templates show
    """Return the page ``template`` filled with ``values``.

    Args:
        template: A file of the folder ``templates``.
        now: Time of the page, in seconds since the epoch.
        values: What the template shows.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("pdd_ray.results.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "share": _share, "breakable": _breakable}
    style = resources.files("pdd_ray.results.report").joinpath("templates/style.css")
    return environment.get_template(template).render(
        time=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)),
        style=Markup(style.read_text(encoding="utf-8")),
        StepState=StepState,
        **values,
    )


def _share(part: float, whole: float) -> str:
    """Return ``part`` of ``whole`` as a percentage."""
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def _breakable(text: str) -> Markup:
    """Return ``text`` so that lines may break behind dots and underscores."""
    from markupsafe import Markup

    return Markup("<wbr>").join(re.split(r"(?<=[._])", text))
