"""A page taken apart: its elements, its text, and what it refers to."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "img", "br", "wbr", "link", "input", "hr"})


@dataclass
class Element:
    """An element with its attributes, the tags around it, and all text inside it."""

    tag: str
    attributes: dict[str, str]
    around: tuple[str, ...]
    text: str = ""


@dataclass
class Page:
    """A page, and its elements in order."""

    source: str
    elements: list[Element] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def all(self, *tags: str) -> list[Element]:
        """Return the elements with these tags."""
        return [element for element in self.elements if element.tag in tags]

    @property
    def text(self) -> str:
        """All text of the body, white space as one space."""
        (body,) = self.all("body")
        return " ".join(body.text.split())

    def table(self, caption: str) -> list[list[str]]:
        """Return the rows of the table whose caption begins with ``caption``."""
        rows: list[list[str]] = []
        inside = False
        for element in self.elements:
            if element.tag == "table":
                inside = False
            elif element.tag == "caption":
                inside = element.text.startswith(caption)
            elif inside and element.tag == "tr":
                rows.append([])
            elif inside and element.tag in ("td", "th"):
                rows[-1].append(" ".join(element.text.split()))
        return rows


class _Parser(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        around = tuple(element.tag for element in self.open)
        element = Element(tag, {name: value or "" for name, value in attrs}, around)
        self.page.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1].tag != tag:
            self.page.problems.append(f"</{tag}> at {self.getpos()} closes nothing")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def parse(source: str) -> Page:
    """Return ``source`` taken apart; elements that are not closed properly are its problems."""
    page = Page(source)
    parser = _Parser(page)
    parser.feed(source)
    parser.close()
    page.problems += [f"<{element.tag}> is not closed" for element in parser.open]
    return page
