"""A chart as a picture, and as markup."""

from __future__ import annotations

import re
from typing import Any

from bitloss.errors import MissingDependency

__all__ = ["Chart", "png", "svg"]

Chart = Any
"""An `altair.Chart` or what is layered of several."""


def png(chart: Chart) -> bytes:
    """The chart as a picture on white, at twice the size, its description above it.

    Raises:
        MissingDependency: vl-convert is not installed.
    """
    spec = chart.properties(title=chart.description, background="white").to_dict()
    found: bytes = _converter().vegalite_to_png(spec, scale=2)
    return found


def svg(chart: Chart, name: str) -> str:
    """The chart as markup for a page: no style attributes, and ids that begin with `name`.

    Args:
        chart: one of `charts`.
        name: letters, digits and hyphens.

    Raises:
        MissingDependency: vl-convert is not installed.
    """
    text: str = _converter().vegalite_to_svg(chart.to_dict())
    text = re.sub(r'\b(id="|url\(#)', rf"\g<1>{name}-", text)
    # One text for the whole picture is what a reader wants to hear, not each of its dots ...
    text = re.sub(r' (role|aria-\w+)="[^"]*"(?=[^<]*/?>)', _tooltips_only, text)
    text = re.sub(r'<path data-tip="([^"]*)"([^>]*)/>', r"<path\2><title>\1</title></path>", text)
    text = re.sub(r' data-tip="[^"]*"', "", text)
    return re.sub(r'width="\d+" height="\d+" (?=viewBox)', "", text, count=1)


def _tooltips_only(found: re.Match[str]) -> str:
    """... but who points at a dot sees its name and figures."""
    label = re.fullmatch(r' aria-label="([^"]*)"', found.group())
    return f' data-tip="{label.group(1)}"' if label else ""


def _converter() -> Any:
    try:
        import vl_convert
    except ModuleNotFoundError as fault:
        raise MissingDependency("vl-convert-python", "drawing charts", extra="report") from fault
    return vl_convert
