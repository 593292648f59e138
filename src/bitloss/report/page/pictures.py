"""The charts of the page, each with what it shows in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.analysis.sentences import listed
from bitloss.report.charts import charts, pareto
from bitloss.report.details import Details
from bitloss.report.draw import svg
from bitloss.results import Comparison, CorpusComparison
from bitloss.tables.tasks import short_names

__all__ = ["Picture", "pictures"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart of the page.

    Attributes:
        title: what is drawn.
        finding: what is to be seen.
        svg: the markup.
    """

    title: str
    finding: str
    svg: Markup


def pictures(comparison: Comparison, details: Details) -> dict[str, dict[str, Picture]]:
    """By corpus and kind of chart."""
    found: dict[str, dict[str, Picture]] = {}
    for name, chart in charts(comparison, details).items():
        kind, _, corpus = name.partition(":")
        if kind not in _FINDINGS:
            continue  # capabilities are a table here
        title, finding = str(chart.description), _FINDINGS[kind](comparison, details, corpus)
        markup = Markup(svg(chart, f"{title}. {finding}"))
        found.setdefault(corpus, {})[kind] = Picture(title, finding, markup)
    return found


def _scored(comparison: Comparison, corpus: str) -> list[tuple[str, CorpusComparison]]:
    names = short_names(comparison)
    return [(names[v.name], v.corpora[corpus]) for v in comparison.variants if corpus in v.corpora]


def _least_most(values: dict[str, float | None]) -> tuple[tuple[str, float], tuple[str, float]]:
    known = {name: value for name, value in values.items() if value is not None}
    least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return (least, known[least]), (most, known[most])


def _divergence(comparison: Comparison, details: Details, corpus: str) -> str:
    values = {name: one.kl_divergence.mean for name, one in _scored(comparison, corpus)}
    (best, least), (worst, most) = _least_most(values)
    names = short_names(comparison)
    front = [names[name] for name in pareto(comparison, corpus)]
    text = f"From {fmt.divergence(least)} ({best}) to {fmt.divergence(most)} ({worst})."
    if len(values) == 1:
        text = f"{fmt.divergence(least)} for {best}."
    elif front:
        # Filled dots, joined by a line.
        text += f" On the Pareto front, where nothing smaller is better: {listed(front)}."
    return text


def _perplexity(comparison: Comparison, details: Details, corpus: str) -> str:
    values = {name: one.relative_perplexity.value for name, one in _scored(comparison, corpus)}
    (best, least), (worst, most) = _least_most(values)
    if len(values) == 1:
        return f"{fmt.number(least, 3)} for {best}; 1 is the reference."
    return (
        f"From {fmt.number(least, 3)} ({best}) to {fmt.number(most, 3)} ({worst}); 1 is the "
        "reference. Bars are 95 % intervals."
    )


def _quantiles(comparison: Comparison, details: Details, corpus: str) -> str:
    values = {name: one.kl_divergence.p99 for name, one in _scored(comparison, corpus)}
    (best, least), (worst, most) = _least_most(values)
    if len(values) == 1:
        return f"99 % of the tokens diverge by less than {fmt.divergence(least)} for {best}."
    return (
        f"99 % of the tokens diverge by less than {fmt.divergence(least)} for {best}, and by less "
        f"than {fmt.divergence(most)} for {worst}."
    )


def _along(comparison: Comparison, details: Details, corpus: str) -> str:
    names = short_names(comparison)
    courses = {names.get(name, name): one for name, one in details.courses[corpus].items()}
    name = max(courses, key=lambda one: max(map(abs, courses[one].nats)))
    low, high = min(courses[name].nats), max(courses[name].nats)
    return (
        f"{name} moves most: from {low:+.3f} to {high:+.3f} nats a token between one stretch of "
        "the text and another; 0 is the reference."
    )


_FINDINGS: dict[str, Callable[[Comparison, Details, str], str]] = {
    "divergence-by-size": _divergence,
    "perplexity-by-size": _perplexity,
    "divergence-quantiles": _quantiles,
    "loss-along-text": _along,
}
