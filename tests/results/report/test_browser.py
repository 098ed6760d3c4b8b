"""Facts about the page in a real browser, on a phone and on a desk."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.results.report.page_parser import Page

WIDTHS = (390, 1280)
"""A phone and a desk, in CSS pixels."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for path in map(shutil.which, BROWSERS) if path), None)
SECONDS = 60

# Windows of headless Chromium can't be as narrow as a phone, frames can.
WRAPPER = """\
<!DOCTYPE html><html><body>{frames}<pre id="found"></pre><script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach((element) => element.open = true);
    const root = page.documentElement;
    const boxes = [...page.querySelectorAll("body *")].filter((element) =>
      !element.closest(".scroll, pre") && element.getBoundingClientRect().right > root.clientWidth);
    return {{
      seen: root.clientWidth,
      needed: root.scrollWidth,
      outside: boxes.map((element) => element.outerHTML.slice(0, 100)),
      images: [...page.images].map((image) => image.naturalWidth),
      requests: frame.contentWindow.performance.getEntriesByType("resource")
        .map((entry) => entry.name).filter((name) => !name.startsWith("data:")),
      colours: [getComputedStyle(page.body).color, getComputedStyle(page.body).backgroundColor],
    }};
  }});
  document.querySelector("#found").textContent = JSON.stringify(found);
}});
</script></body></html>
"""


@pytest.fixture(params=["light", "dark"])
def seen(
    request: pytest.FixtureRequest, page: Callable[[], Page], tmp_path: Path
) -> dict[str, list[dict[str, Any]]]:
    """What the browser says about the page at each width, by colour scheme."""
    if BROWSER is None:
        pytest.skip(f"no browser on the PATH: {', '.join(BROWSERS)}")
    source = html.escape(page().source)
    frames = "".join(
        f'<iframe style="width:{width}px;height:800px;border:0" srcdoc="{source}"></iframe>'
        for width in WIDTHS
    )
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(WRAPPER.format(frames=frames), encoding="utf-8")
    scheme = {"dark": 0, "light": 1}[request.param]
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--blink-settings=preferredColorScheme={scheme}",
        "--window-size=1280,900",
        "--dump-dom",
        wrapper.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr
    return {request.param: json.loads(html.unescape(found[1]))}


def luminance(colour: str) -> float:
    """Return the relative luminance of ``rgb(r, g, b)`` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_page_fits_its_window_loads_nothing_and_can_be_read(
    seen: dict[str, list[dict[str, Any]]],
):
    ((scheme, frames),) = seen.items()
    for width, frame in zip(WIDTHS, frames, strict=True):
        assert width - 20 <= frame["seen"] <= width  # a scroll bar may take some
        assert frame["outside"] == []
        assert frame["needed"] == frame["seen"]
        assert frame["images"]
        assert 0 not in frame["images"]
        assert frame["requests"] == []
        ink, paper = (luminance(colour) for colour in frame["colours"])
        assert (ink < paper) == (scheme == "light")
        lighter, darker = max(ink, paper), min(ink, paper)
        assert (lighter + 0.05) / (darker + 0.05) > 7  # WCAG 2.2, level AAA
