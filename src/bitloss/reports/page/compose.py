"""The page put together: every section's tables and charts, the style sheet, and its policy."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.reports.chart_parts import ACCENT, GRID, INK, MUTED, SERIES
from bitloss.reports.details import Details
from bitloss.reports.flips import SHOWN
from bitloss.reports.page import answer, capabilities, figures, method, served, speed, texts
from bitloss.reports.page.flip_view import flips
from bitloss.reports.page.pictures import pictures
from bitloss.reports.page.replicates import replicates
from bitloss.reports.printable import printable
from bitloss.reports.unfinished import unfinished
from bitloss.results import Comparison

__all__ = ["compose"]

# The counterpart of each color of a chart in dark mode.
_DARK = (
    "#4cc2ab", "#e88f57", "#8aa8e8", "#d886b5", "#b9bf4a", "#b596f0", "#ec8080", "#a9b4c0",
)  # fmt: skip


def compose(comparison: Comparison, details: Details) -> str:
    """The page's text.

    Args:
        comparison: the result.
        details: of the same run.
    """
    templates = _templates()
    style = templates.get_template("style.css.j2").render(colors=_colors())
    text = templates.get_template("page.html.j2").render(
        **_facts(comparison, details),
        style=Markup(style),
        policy=_policy(style),
    )
    return printable(text)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("bitloss.reports.page"),
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


def _facts(comparison: Comparison, details: Details) -> dict[str, Any]:
    names = list(comparison.reference.corpora)
    drawn = pictures(comparison, details)
    environment = comparison.environment
    return {
        "reference": comparison.reference,
        "summary": _summary(comparison),
        "paragraphs": answer.paragraphs(comparison.answer),
        "choice": answer.choice(comparison),
        "notices": answer.notices(comparison, unfinished(comparison)),
        "verdicts": answer.verdicts(comparison),
        "corpora": names,
        "pictures": drawn,
        "figures": {name: figures.corpus(comparison, name) for name in names},
        "distributions": {name: figures.distribution(comparison, name) for name in names},
        "served": {name: served.of_corpus(comparison, name) for name in names},
        "likely": {name: served.likely_of_corpus(comparison, name) for name in names},
        "served_tasks": served.of_tasks(comparison),
        "loss_along_text": {
            name: figures.loss_along_text(comparison, details, name) for name in names
        },
        "heat": capabilities.heat_map(comparison),
        "legend": capabilities.legend(),
        "ranking": capabilities.ranking(comparison),
        "claims": capabilities.claims(comparison),
        "tasks": capabilities.tasks(comparison),
        "texts": texts.table_of(comparison),
        "flips": flips(comparison, details),
        "most_flips": SHOWN,
        "cost": figures.cost(comparison),
        "speed": speed.table_of(comparison),
        "method": [
            one
            for one in (
                method.models(comparison),
                method.corpora(comparison),
                method.tasks(comparison),
                method.scoring_differences(comparison),
                method.expected(comparison),
                replicates(comparison),
            )
            if one is not None
        ],
        "environment": method.environment(comparison),
        "command": environment.command,
        "version": environment.versions.get("bitloss", ""),
    }


def _summary(comparison: Comparison) -> str:
    reference = comparison.reference
    parts = [f"{reference.format}, {fmt.size(reference.file_bytes)}"]
    counted = {
        "variant": len(comparison.variants),
        "corpus": len(reference.corpora),
        "task": len(reference.tasks or {}),
    }
    plural = {"variant": "variants", "corpus": "corpora", "task": "tasks"}
    parts += [f"{n} {name if n == 1 else plural[name]}" for name, n in counted.items() if n]
    return " · ".join(parts)
