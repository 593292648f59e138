"""A chart as a picture, and as markup."""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

from bitloss.errors import MissingDependency, StorageError
from bitloss.reports.printable import printable

__all__ = ["Chart", "png", "svg"]

Chart = Any
"""An `altair.Chart` or what is layered of several."""

# All that a chart of ours is drawn with; nothing else may come into a page.
_ELEMENTS = frozenset({"svg", "g", "path", "line", "rect", "text", "tspan", "title"})
_LEFT_OUT = frozenset({"class", "font-family", "pointer-events", "version", "opacity"})


def png(chart: Chart) -> bytes:
    """The chart as a picture on white, at twice the size, its description above it.

    Raises:
        MissingDependency: vl-convert is not installed.
        StorageError: a limit leaves no address space to draw in.
    """
    chart = chart.properties(title=chart.description, background="white")
    picture: bytes = _converter().vegalite_to_png(_spec(chart), scale=2)
    return picture


def svg(chart: Chart, label: str) -> str:
    """The chart as markup for a page: one image to those who hear it, tooltips to those who point.

    There are no ids, no style attributes and no fonts in it: the page's style sheet has those.

    Args:
        chart: one of `charts`.
        label: what it shows, in a sentence or two.

    Raises:
        MissingDependency: vl-convert is not installed.
        StorageError: a limit leaves no address space to draw in.
    """
    text: str = _converter().vegalite_to_svg(_spec(chart))
    root = ElementTree.fromstring(text)
    _clean(root)
    for key in ("width", "height"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": printable(label)}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _spec(chart: Chart) -> Any:
    """What the converter reads: a control character in a name would end the process (a panic)."""
    # Validating takes longer than drawing: a test does it for every chart.
    return _printable(chart.to_dict(validate=False))


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _printable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_printable(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value


def _clean(element: ElementTree.Element) -> None:
    """Drop namespaces, drawing instructions without effect, and what speaks dot by dot."""
    element.tag = element.tag.rpartition("}")[2]
    tip = element.get("aria-label") if element.tag == "path" else None
    for key in list(element.attrib):
        if key in _LEFT_OUT or key.startswith(("{", "aria-", "role", "on", "style", "id")):
            del element.attrib[key]
    for child in list(element):
        if child.tag.rpartition("}")[2] not in _ELEMENTS or _invisible(child):
            element.remove(child)
        else:
            _clean(child)
    if tip is not None:
        ElementTree.SubElement(element, "title").text = tip


def _invisible(element: ElementTree.Element) -> bool:
    return element.get("display") == "none" or element.get("class") == "background"


def _converter() -> Any:
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise MissingDependency("vl-convert-python", "drawing charts", extra="report") from error
    _require_address_space(resource.getrlimit(resource.RLIMIT_AS)[0])
    return vl_convert


@lru_cache(maxsize=1)
def _require_address_space(limit: int) -> None:
    """Draw a first chart elsewhere under a limit: the converter's JavaScript engine reserves tens
    of gigabytes of addresses, and ends the process that has not got them.
    """
    if limit == resource.RLIM_INFINITY:
        return
    draw = (
        "import vl_convert; vl_convert.vegalite_to_svg({'mark': 'point', 'data': {'values': []}})"
    )
    tried = subprocess.run([sys.executable, "-c", draw], capture_output=True, check=False)
    if tried.returncode:
        raise StorageError(
            f"expected address space of tens of gigabytes to draw charts, got a limit of "
            f"{limit / 1e9:.0f} GB",
            hint="raise the limit (`ulimit -v unlimited`), or choose a format without charts "
            "(`bitloss report --format csv`)",
        )
