"""What every page of ours is rendered with: templates, the style sheet, and its policy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bitloss.reports.chart_parts import ACCENT, GRID, INK, MUTED, SERIES
from bitloss.reports.printable import printable

__all__ = ["render"]

# The counterpart of each color of a chart in dark mode.
_DARK = (
    "#4cc2ab", "#e88f57", "#8aa8e8", "#d886b5", "#b9bf4a", "#b596f0", "#ec8080", "#a9b4c0",
)  # fmt: skip


def render(template: str, facts: Mapping[str, Any], *, package: str = "") -> str:
    """A page's text.

    Args:
        template: its file's name; it gets `facts`, and the style sheet and the policy to put into
            its head.
        facts: what it shows.
        package: whose ``templates`` folder has the file; "" is this package's.
    """
    templates = _templates(package)
    style = templates.get_template("style.css.j2").render(colors=_colors())
    text = templates.get_template(template).render(
        **facts, style=Markup(style), policy=_policy(style)
    )
    return printable(text)


@cache
def _templates(package: str) -> Environment:
    places = [PackageLoader("bitloss.reports.page")]
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), *places] if package else places),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _colors() -> dict[str, str]:
    """Colors of the charts, as CSS, by those that they are drawn with."""
    surroundings = {
        INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", "white": "var(--page)",
    }  # fmt: skip
    return dict(zip(SERIES, _DARK, strict=True)) | {ACCENT: "var(--accent)"} | surroundings


def _policy(style: str) -> str:
    """Nothing may be loaded, run or sent; of styles, only the page's own."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
