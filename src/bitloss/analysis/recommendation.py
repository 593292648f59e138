"""Which file to ship, why, and what is not known of it.

A variant is *shown* to be acceptable if its level is ``yes`` or ``usually`` and every capability
that can be measured is kept; if no corpus was scored, the capabilities decide alone. The smallest
of them is recommended. Where none is shown to be, the variant that has the least to prove is named
instead, and how many items would prove it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bitloss import wording as fmt
from bitloss.analysis.reasons import acceptable, measurable, reason, why
from bitloss.expectations import ACCEPTABLE
from bitloss.results.models import VariantResult
from bitloss.results.verdicts import CapabilityVerdict, Verdict

__all__ = [
    "Recommendation", "recommend", "recommendation_text", "runner_up_text", "size_order",
]  # fmt: skip


_NOTHING = 0.0005  # of a score: 0.05 points


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The variant to ship.

    Attributes:
        variant: with its verdict.
        verdict: its verdict.
        shown: whether it is shown to be acceptable; else it is the least risky.
    """

    variant: VariantResult
    verdict: Verdict
    shown: bool


def recommend(variants: Sequence[VariantResult]) -> Recommendation | None:
    """The smallest variant that is shown to be acceptable, else the one with the least to prove;
    None if none may be acceptable.
    """
    judged = [(one, one.verdict) for one in variants if one.verdict is not None]
    shown = [pair for pair in judged if acceptable(pair[1]) == "kept"]
    if shown:
        return Recommendation(*min(shown, key=lambda pair: size_order(pair[0])), shown=True)
    possible = [pair for pair in judged if acceptable(pair[1]) == "not shown"]
    if not possible:
        return None
    # Of a loss whose limits are unknown nothing is proven.
    least = min(possible, key=lambda pair: (_to_prove(pair[1]), size_order(pair[0])))
    return Recommendation(*least, shown=False)


def _to_prove(verdict: Verdict) -> float:
    """By how much the worst limit of its losses is beyond the margin, as a share of the score."""
    excess = [0.0 if verdict.level in ACCEPTABLE else math.inf]
    for one in measurable(verdict).values():
        excess.append(math.inf if one.loss.high is None else one.loss.high - one.margin)
    return max(excess)


def size_order(variant: VariantResult) -> tuple[float, float]:
    """What variants are ordered by: bytes, then bits per weight; what is not known comes last."""
    stored, bits = variant.file_bytes, variant.bits_per_weight
    return (math.inf if stored is None else stored, math.inf if bits is None else bits)


# In words ---------------------------------------------------------------------------------------


def recommendation_text(
    variants: Sequence[VariantResult], chosen: Recommendation | None
) -> Iterator[str]:
    """What to ship and why; what it loses; what is not known. A paragraph each.

    Args:
        variants: all of the run.
        chosen: one of them.
    """
    judged = [(one, one.verdict) for one in variants if one.verdict is not None]
    if not judged:
        yield "No variant could be judged."
        return
    windowless = [one.name for one, verdict in judged if _has_no_interval(verdict)]
    if len(windowless) == len(judged):
        yield (
            f"No verdict on {fmt.join_words(windowless)}: an interval takes more windows than "
            "were scored."
        )
        return
    if chosen is None:
        ((one, verdict), *others) = judged
        alone = f"{one.name} is not acceptable: it {_why_not(verdict)}."
        yield "No variant is acceptable." if others else alone
        return
    yield _opening(chosen, alone=len(judged) == 1)
    yield _loses(chosen.verdict)
    yield _not_shown(chosen.verdict)


def _has_no_interval(verdict: Verdict) -> bool:
    return verdict.corpus is not None and verdict.level is None


def _opening(chosen: Recommendation, *, alone: bool) -> str:
    stored = chosen.variant.file_bytes
    name = chosen.variant.name + (f" ({fmt.size(stored)})" if stored is not None else "")
    verdict = chosen.verdict
    reasons = []
    if verdict.level is not None:
        reasons.append(f"{reason(verdict)} (`{verdict.level}`)")
    if chosen.shown:
        if measurable(verdict):
            reasons.append(f"it keeps every {_kind(verdict)} within {_margin(verdict)}")
        opening = (
            f"{name} is acceptable" if alone else f"Ship {name}, the smallest acceptable variant"
        )
        return f"{opening}: {'; '.join(reasons)}."
    because = f": {'; '.join(reasons)}" if reasons else ""
    if alone:
        return f"{name} is not shown to be acceptable{because}."
    return f"No variant is shown to be acceptable. The least risky is {name}{because}."


def _kind(verdict: Verdict) -> str:
    unmeasured = len(measurable(verdict)) < len(verdict.capabilities)
    return "measurable capability" if unmeasured else "capability"


def _margin(verdict: Verdict) -> str:
    margins = {one.margin for one in measurable(verdict).values()}
    return f"{100 * margins.pop():g} points" if len(margins) == 1 else "its margin"


def _loses(verdict: Verdict) -> str:
    """Its largest loss; empty if nothing was measured, or nothing that figures would show."""
    losses = {
        name: one
        for name, one in measurable(verdict).items()
        if one.loss.value is not None and one.loss.value >= _NOTHING
    }
    if not losses:
        return ""
    name = max(losses, key=lambda name: losses[name].loss.value or 0.0)
    return f"Its largest loss is {_lost(losses[name])} on {name}."


def _lost(one: CapabilityVerdict) -> str:
    return fmt.unsigned_points_interval(one.loss).in_unit("points")


def _not_shown(verdict: Verdict) -> str:
    """What it is not shown to keep, and how many items would show it; empty if nothing."""
    open_ones = {n: one for n, one in measurable(verdict).items() if one.outcome == "not shown"}
    if not open_ones:
        return ""
    each = [f"{name} ({_lost(one)}{_needed(one)})" for name, one in open_ones.items()]
    return f"Not shown to be kept within {_margin(verdict)}: {fmt.join_words(each)}."


def _needed(one: CapabilityVerdict) -> str:
    """How many items would show that the loss is within the margin if it is what it seems."""
    if one.contradicted:
        return "; its score and expected score disagree"
    loss = one.loss
    if loss.value is None or loss.high is None or not one.n_scored:
        return ""
    room = one.margin - loss.value
    if room <= 0.1 * one.margin:
        return "; too close to the margin for more items to decide"
    items = one.n_scored * ((loss.high - loss.value) / room) ** 2
    digits = max(0, math.floor(math.log10(items)) - 1)
    needed = math.ceil(items / 10**digits) * 10**digits
    return f"; about {needed:,} items would decide, {one.n_scored:,} were evaluated"


def runner_up_text(variants: Sequence[VariantResult], chosen: Recommendation | None) -> str:
    """Why not the next smaller file; empty if there is none, or nothing to ship."""
    if chosen is None or not chosen.shown or chosen.variant.file_bytes is None:
        return ""
    smaller = [
        (one, one.verdict)
        for one in variants
        if one.verdict is not None and size_order(one) < size_order(chosen.variant)
    ]
    if not smaller:
        return ""
    other, verdict = max(smaller, key=lambda pair: size_order(pair[0]))
    assert other.file_bytes is not None
    less = fmt.size(chosen.variant.file_bytes - other.file_bytes)
    return f"{other.name} is {less} smaller, but {_why_not(verdict)}."


def _why_not(verdict: Verdict) -> str:
    lost = {n: one for n, one in measurable(verdict).items() if one.outcome == "lost"}
    if lost:
        name = max(lost, key=lambda name: lost[name].loss.value or 0.0)
        return f"loses {_lost(lost[name])} on {name}"
    if verdict.level is not None and verdict.level not in ACCEPTABLE:
        return f"is `{verdict.level}`, as {why(verdict)}"
    open_ones = [n for n, one in measurable(verdict).items() if one.outcome == "not shown"]
    return f"is not shown to keep {fmt.join_words(open_ones, 'or')}" if open_ones else "is open"
