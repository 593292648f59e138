"""A page as the standard library's HTML parser sees it, and what its numbers and colors mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitloss.reports.page.cells import Table
    from bitloss.results import Comparison

_VOID = {"meta", "br", "hr", "img", "link", "input", "path", "line", "rect"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None = None
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    def all(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.all()

    def within(self, **wanted: str) -> bool:
        found = all(self.attributes.get(key) == value for key, value in wanted.items())
        return found or (self.parent is not None and self.parent.within(**wanted))


class Reader(HTMLParser):
    """A tree of what a parser sees; elements that are left open are a fault."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = self.here = Element("", {})
        self.feed(text)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        new = Element(tag, {key: value or "" for key, value in attrs}, self.here)
        self.here.children.append(new)
        if tag not in _VOID:
            self.here = new

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.children.append(Element(tag, {key: v or "" for key, v in attrs}, self.here))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.children.append(data)


def read(text: str) -> list[Element]:
    return list(Reader(text).root.all())


def lookup(document: Any, path: str) -> Any:
    for quoted, plain in re.findall(r'("(?:[^"\\]|\\.)*")|([^."]+)', path):
        key = json.loads(quoted) if quoted else plain
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def agrees(shown: str, value: Any, unit: str, reference: dict[str, Any]) -> bool:
    """Whether what is shown is the value, rounded to the decimals that are shown."""
    if unit == "prefix":
        return len(shown) == 16 and str(value).startswith(shown)
    if isinstance(value, str):
        return " ".join(shown.split()) == " ".join(value.replace("`", "").split())
    if shown == "< 0.001":
        return bool(value < 0.001)
    whole = reference["file_bytes"]
    value = {"saved": 1 - value / whole, "of reference": value / whole,
             "saved bytes": whole - value}.get(unit, value)  # fmt: skip
    number, suffix = re.match(r"([^ %]+) ?(.*)", shown.replace(",", "")).groups()  # type: ignore[union-attr]
    scale: float = {"share": 100, "points": 100, "saved": 100, "of reference": 100}.get(unit, 1)
    assert (suffix == "%") == (unit in ("share", "saved", "of reference")), shown
    if unit in ("bytes", "saved bytes"):
        scale = 1 / UNITS[suffix]
    half = 0.5 * 10.0 ** int(Decimal(number).as_tuple().exponent)
    return bool(abs(float(number) - value * scale) <= half * 1.0001)


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def check_figures(table: Table, comparison: Comparison) -> int:
    """Hold every figure of a table against the place in the document that it names.

    Returns:
        How many there are.
    """
    document = json.loads(comparison.to_json())
    cells = [cell for row in table.rows for cell in row.cells]
    traced = [
        one for cell in cells for one in read(str(cell.content)) if "data-path" in one.attributes
    ]
    for one in traced:
        value = lookup(document, one.attributes["data-path"])
        unit = one.attributes.get("data-unit", "")
        assert agrees(one.text, value, unit, document["reference"]), one.text
    return len(traced)
