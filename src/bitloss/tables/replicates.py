"""Whose the results are: of a recipe over its seeds, of one copy that it made, or of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitloss import wording as fmt

if TYPE_CHECKING:
    from bitloss.results import Comparison, Replicates, Spread, VariantResult

__all__ = ["ShownSpread", "replicate_notes", "shown_spreads"]

_SUGGESTED = 4


@dataclass(frozen=True, slots=True)
class _Metric:
    """How a metric is written.

    Attributes:
        title: what it is.
        text: a value of it.
        unit: of the text, where the document has another one.
    """

    title: str
    text: Callable[[float | None], str]
    unit: str = ""

    def deviation(self, value: float | None) -> str:
        """A standard deviation, which has no sign."""
        if value is None or self.unit not in ("points", "share"):
            return self.text(value)
        return fmt.number(100 * value, 1)


_CORPUS: Mapping[str, _Metric] = {
    "relative_perplexity": _Metric("relative PPL", lambda value: fmt.number(value, 4)),
    "kl_divergence": _Metric("KLD, nats/token", fmt.divergence),
    "top1_agreement": _Metric("same top-1", fmt.share, "share"),
    "overlap": _Metric("overlap", fmt.share, "share"),
}
_CAPABILITY: Mapping[str, _Metric] = {
    "difference": _Metric("change, points", fmt.points, "points"),
    "expected_difference": _Metric("expected change, points", fmt.points, "points"),
}


@dataclass(frozen=True, slots=True)
class ShownSpread:
    """What the replicates of a recipe have in one metric.

    Attributes:
        name: of the corpus or capability.
        path: of the spread, below the variant's replicates.
        metric: how it is written.
        spread: the values.
    """

    name: str
    path: tuple[str, str, str]
    metric: _Metric
    spread: Spread

    @property
    def range(self) -> str:
        """The smallest and the largest value."""
        ends = self.spread.range
        return fmt.MISSING if ends is None else " to ".join(map(self.metric.text, ends))


def shown_spreads(variant: VariantResult) -> Iterator[ShownSpread]:
    """On every corpus, then in every capability that is measurable."""
    replicates = variant.replicates
    if replicates is None:
        return
    for name, of in replicates.corpora.items():
        for key, metric in _CORPUS.items():
            if key in of:
                yield ShownSpread(name, ("corpora", name, key), metric, of[key])
    for name, of in replicates.capabilities.items():
        for key, metric in _CAPABILITY.items():
            if key in of and name not in variant.not_measurable:
                yield ShownSpread(name, ("capabilities", name, key), metric, of[key])


def replicate_notes(comparison: Comparison) -> tuple[str, ...]:
    """What the intervals of each variant are about, and what its replicates came to."""
    names = comparison.short_names
    by_spread: dict[str | None, list[str]] = {}
    notes = []
    for variant in comparison.variants:
        if variant.error is not None:
            continue
        if variant.replicates is None:
            by_spread.setdefault(variant.own_spread, []).append(names[variant.name])
        else:
            notes.append(f"{names[variant.name]}: {_made(variant, variant.replicates)}")
    if once := by_spread.get("left out"):
        copies = "this copy" if len(once) == 1 else "these copies"
        notes.append(
            f"{fmt.join_words(once)}: made once, so the quantizer's own spread (other seeds and "
            f"calibration draws) is not included and all results are of {copies}; "
            f"--replicates {_SUGGESTED} measures it"
        )
    if notes and (fixed := by_spread.get("none")):
        notes.append(f"{fmt.join_words(fixed)}: made once, since no seed decides the bytes")
    if files := by_spread.get(None):
        those = "this file" if len(files) == 1 else "these files"
        notes.append(
            f"{fmt.join_words(files)}: results are of {those}; another copy made by the same "
            "method may lose more or less"
        )
    return tuple(notes)


def _made(variant: VariantResult, replicates: Replicates) -> str:
    """How often, and the range of what decides verdicts; the page has the rest."""
    seeds = replicates.seeds
    made = f"made {len(seeds)} times (seeds {seeds[0]} to {seeds[-1]})"
    if len(set(replicates.digests)) == 1:
        return f"{made}, each time the same bytes"
    parts: dict[str, list[str]] = {}
    for shown in shown_spreads(variant):
        if shown.path[2] in ("relative_perplexity", "difference"):
            parts.setdefault(shown.metric.title, []).append(f"{shown.name} {shown.range}")
    ranges = "; ".join(f"{title}: {', '.join(ones)}" for title, ones in parts.items())
    means = f"{made}; results are means, and intervals include the spread from copy to copy"
    return f"{means} ({ranges})" if ranges else means
