"""The charts of the page, each with what it shows in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.analysis.near_floor import is_near_floor
from bitloss.reports.charts import charts
from bitloss.reports.details import Details
from bitloss.reports.draw import svg
from bitloss.reports.scatter import pareto, rate_of
from bitloss.results import Comparison, CorpusComparison
from bitloss.tables.speed import timed

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
    by_corpus: dict[str, dict[str, Picture]] = {}
    for name, chart in charts(comparison, details).items():
        kind, _, corpus = name.partition(":")
        if kind not in _FINDINGS:
            continue  # capabilities are a table here
        title, finding = str(chart.description), _FINDINGS[kind](comparison, details, corpus)
        markup = Markup(svg(chart, f"{title}. {finding}"))
        by_corpus.setdefault(corpus, {})[kind] = Picture(title, finding, markup)
    return by_corpus


def _scored(comparison: Comparison, corpus: str) -> list[tuple[str, CorpusComparison]]:
    names = comparison.short_names
    return [(names[v.name], v.corpora[corpus]) for v in comparison.variants if corpus in v.corpora]


@dataclass(frozen=True, slots=True)
class _Range:
    """The smallest and the largest of some values, and whose they are."""

    low: float
    lowest: str
    high: float
    highest: str
    count: int


def _range(values: Mapping[str, float | None]) -> _Range:
    known = {name: value for name, value in values.items() if value is not None}
    lowest, highest = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return _Range(known[lowest], lowest, known[highest], highest, len(values))


def _shown(value: float, of: CorpusComparison) -> str:
    """A divergence in a sentence, with the mark of one near the noise floor."""
    mark = fmt.NEAR_FLOOR if value and is_near_floor(of) else ""
    return mark + fmt.divergence(value)


def _divergence(comparison: Comparison, details: Details, corpus: str) -> str:
    scored = dict(_scored(comparison, corpus))
    ends = _range({name: one.kl_divergence.mean for name, one in scored.items()})
    low, high = _shown(ends.low, scored[ends.lowest]), _shown(ends.high, scored[ends.highest])
    if ends.count == 1:
        return f"{low} for {ends.lowest}."
    sentences = [f"From {low} ({ends.lowest}) to {high} ({ends.highest})."]
    names = comparison.short_names
    if front := [names[name] for name in pareto(comparison, corpus)]:
        # Filled dots, joined by a line.
        sentences.append(
            f"On the Pareto front, where nothing smaller is better: {fmt.join_words(front)}."
        )
    return " ".join(sentences)


def _speed(comparison: Comparison, details: Details, corpus: str) -> str:
    names, shares = comparison.short_names, {}
    for one in timed(comparison):
        share = rate_of(one.speed)
        if share is not None and corpus in one.variant.corpora:
            shares[f"{names[one.variant.name]} run by {one.run_as}"] = share
    ends = _range(shares)
    if ends.count == 1:
        return f"{ends.low:.3g} times the reference's speed for {ends.lowest}."
    return (
        f"From {ends.low:.3g} ({ends.lowest}) to {ends.high:.3g} ({ends.highest}) times the "
        "reference's speed, of writing where the engine writes."
    )


def _perplexity(comparison: Comparison, details: Details, corpus: str) -> str:
    ends = _range(
        {name: one.relative_perplexity.value for name, one in _scored(comparison, corpus)}
    )
    low, high = fmt.number(ends.low, 3), fmt.number(ends.high, 3)
    if ends.count == 1:
        return f"{low} for {ends.lowest}; 1 is the reference."
    return (
        f"From {low} ({ends.lowest}) to {high} ({ends.highest}); 1 is the reference. Bars are "
        "95% intervals."
    )


def _quantiles(comparison: Comparison, details: Details, corpus: str) -> str:
    scored = dict(_scored(comparison, corpus))
    ends = _range({name: one.kl_divergence.p99 for name, one in scored.items()})
    clauses = [f"by less than {_shown(ends.low, scored[ends.lowest])} for {ends.lowest}"]
    if ends.count > 1:
        high = _shown(ends.high, scored[ends.highest])
        clauses.append(f"by less than {high} for {ends.highest}")
    return f"99% of the tokens diverge {fmt.join_words(clauses)}."


def _loss_along_text(comparison: Comparison, details: Details, corpus: str) -> str:
    names = comparison.short_names
    traces = {names.get(name, name): one for name, one in details.loss_traces[corpus].items()}
    name = max(traces, key=lambda one: max(map(abs, traces[one].nats)))
    low, high = min(traces[name].nats), max(traces[name].nats)
    return (
        f"{name} varies most: from {low:+.3f} to {high:+.3f} nats per token between one stretch "
        "of the text and another; 0 is the reference."
    )


_FINDINGS: dict[str, Callable[[Comparison, Details, str], str]] = {
    "divergence-by-size": _divergence,
    "perplexity-by-size": _perplexity,
    "divergence-by-speed": _speed,
    "divergence-quantiles": _quantiles,
    "loss-along-text": _loss_along_text,
}
