"""The charts of the page, each with what it shows in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.analysis.near_floor import is_near_floor
from bitloss.reports.chart_parts import HALF, LEAD, NARROW, WHOLE
from bitloss.reports.charts import Chart, Draw, drawings
from bitloss.reports.details import Details
from bitloss.reports.draw import svg
from bitloss.reports.families import families, family_colors
from bitloss.reports.local_paths import without_folders
from bitloss.reports.quantities import DIVERGENCE, LOSS, PERPLEXITY, Quantity, pareto
from bitloss.reports.scatter import rate_of
from bitloss.results import Comparison, CorpusComparison
from bitloss.tables.speed import timed

__all__ = ["Key", "Picture", "Pictures", "pictures"]


@dataclass(frozen=True, slots=True)
class Key:
    """A family of variants and its color, as markup."""

    name: str
    dot: Markup


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart of the page.

    Attributes:
        title: what is drawn.
        finding: what is to be seen.
        wide: the markup for a desk.
        narrow: for a phone: letters of the same size on a smaller chart.
    """

    title: str
    finding: str
    wide: Markup
    narrow: Markup


@dataclass(frozen=True, slots=True)
class Pictures:
    """All of them.

    Attributes:
        lead: the one beside the answer.
        by_size: the others of quality against size: by corpus, "" for capabilities.
        rows: by kind, a row of charts, one per corpus.
        keys: what colors of dots stand for; empty if there is one.
    """

    lead: Picture | None
    by_size: dict[str, tuple[Picture, ...]]
    rows: dict[str, tuple[Picture, ...]]
    keys: tuple[Key, ...]


_ROWS = ("divergence-by-speed", "divergence-quantiles", "loss-along-text")
_CAPABILITIES = "loss-by-size"
_CIRCLE = "M1,5a4,4 0 1,0 8,0a4,4 0 1,0 -8,0"


def pictures(comparison: Comparison, details: Details) -> Pictures:
    """Draw what the run has results for."""
    draw = drawings(comparison, details)
    corpora = list(comparison.reference.corpora)
    make = partial(_picture, comparison, details)
    first = [f"divergence-by-size:{name}" for name in corpora[:1]] + [_CAPABILITIES]
    lead = _first({name: draw[name] for name in first}, make)
    by_size = {}
    for corpus in corpora:
        names = [f"divergence-by-size:{corpus}", f"perplexity-by-size:{corpus}"]
        if corpus == corpora[0]:
            names = [*(names if lead is None else names[1:]), _CAPABILITIES]
        by_size[corpus] = _row({name: draw[name] for name in names}, make)
    rows = {
        kind: _row({f"{kind}:{name}": draw[f"{kind}:{name}"] for name in corpora}, make)
        for kind in _ROWS
    }
    return Pictures(lead, by_size, rows, _keys(comparison) if lead is not None else ())


_Make = Callable[[str, Chart, Chart], Picture]


def _first(draw: Mapping[str, Draw], make: _Make) -> Picture | None:
    for name, one in draw.items():
        if (narrow := one(NARROW)) is not None:
            return make(name, one(LEAD), narrow)
    return None


def _row(draw: Mapping[str, Draw], make: _Make) -> tuple[Picture, ...]:
    """Charts in a row of two; one alone takes all of it."""
    drawn = {name: one(NARROW) for name, one in draw.items()}
    narrow = {name: chart for name, chart in drawn.items() if chart is not None}
    frame = WHOLE if len(narrow) == 1 else HALF
    return tuple(make(name, draw[name](frame), chart) for name, chart in narrow.items())


def _picture(
    comparison: Comparison, details: Details, name: str, wide: Chart, narrow: Chart
) -> Picture:
    kind, _, corpus = name.partition(":")
    title, finding = str(wide.description), _FINDINGS[kind](comparison, details, corpus)
    label = f"{title}. {finding}"
    if corpus:
        title = f"{title.removesuffix(corpus)}{without_folders(corpus)}"
    return Picture(title, finding, Markup(svg(wide, label)), Markup(svg(narrow, label)))


def _keys(comparison: Comparison) -> tuple[Key, ...]:
    colors = family_colors(families(comparison))
    if len(colors) < 2:
        return ()
    dot = Markup('<svg viewBox="0 0 10 10" aria-hidden="true"><path d="{}" fill="{}"></path></svg>')
    return tuple(Key(name, dot.format(_CIRCLE, color)) for name, color in colors.items())


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
    return f"From {low} ({ends.lowest}) to {high} ({ends.highest}). " + _front(
        comparison, corpus, DIVERGENCE
    )


def _front(comparison: Comparison, corpus: str, quantity: Quantity) -> str:
    """The filled dots."""
    names = comparison.short_names
    front = [names[name] for name in pareto(comparison, corpus, quantity)]
    return f"Better than every smaller file: {fmt.join_words(front)}." if front else ""


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
        return f"{low} for {ends.lowest}."
    return f"From {low} ({ends.lowest}) to {high} ({ends.highest}). " + _front(
        comparison, corpus, PERPLEXITY
    )


def _loss(comparison: Comparison, details: Details, corpus: str) -> str:
    names = comparison.short_names
    found = {names[v.name]: LOSS.estimate(v, corpus) for v in comparison.variants}
    ends = _range({name: one.value for name, one in found.items() if one is not None})
    low, high = fmt.number(ends.low, 1), fmt.number(ends.high, 1)
    if ends.count == 1:
        return f"{low} for {ends.lowest}."
    return f"From {low} ({ends.lowest}) to {high} ({ends.highest}). " + _front(
        comparison, corpus, LOSS
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
    "loss-by-size": _loss,
    "divergence-by-speed": _speed,
    "divergence-quantiles": _quantiles,
    "loss-along-text": _loss_along_text,
}
