"""The page put together: every section's tables and charts."""

from __future__ import annotations

from typing import Any

from bitloss import wording as fmt
from bitloss.reports.details import Details
from bitloss.reports.families import family_kind
from bitloss.reports.flips import SHOWN
from bitloss.reports.local_paths import without_folders
from bitloss.reports.page import answer, capabilities, figures, method, served, speed, texts
from bitloss.reports.page.flip_view import flips
from bitloss.reports.page.pictures import pictures
from bitloss.reports.page.replicates import replicates
from bitloss.reports.page.shell import render
from bitloss.reports.unfinished import unfinished
from bitloss.results import Comparison

__all__ = ["compose"]


def compose(comparison: Comparison, details: Details) -> str:
    """The page's text.

    Args:
        comparison: the result.
        details: of the same run.
    """
    return render("page.html.j2", _facts(comparison, details))


def _facts(comparison: Comparison, details: Details) -> dict[str, Any]:
    names = list(comparison.reference.corpora)
    drawn = pictures(comparison, details)
    environment = comparison.environment
    return {
        "reference": comparison.reference,
        "title": without_folders(comparison.reference.name),
        "summary": _summary(comparison),
        "paragraphs": answer.paragraphs(comparison.answer),
        "choice": answer.choice(comparison),
        "notices": answer.notices(comparison, unfinished(comparison)),
        "verdicts": answer.verdicts(comparison),
        "reasons": answer.reasons(comparison),
        "corpora": names,
        "pictures": drawn,
        "family": family_kind(comparison),
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
