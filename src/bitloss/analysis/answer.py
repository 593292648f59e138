"""The answer of the whole run: what is acceptable, what suffers most, in one paragraph."""

from __future__ import annotations

from collections.abc import Sequence

from bitloss import wording as fmt
from bitloss.analysis.sentences import listed, scores_text
from bitloss.analysis.verdicts import recommend
from bitloss.expectations import Expectations
from bitloss.results.comparison import VariantResult
from bitloss.results.tasks import CapabilityResult
from bitloss.results.verdicts import Answer, Suffering, Verdict

__all__ = ["answer"]


def answer(
    variants: Sequence[VariantResult], suffering: Suffering | None, expectations: Expectations
) -> Answer | None:
    """What the variants' verdicts come to; None without variants.

    Args:
        variants: with their verdicts.
        suffering: of all of them together.
        expectations: that the verdicts were made with.
    """
    if not variants:
        return None
    chosen = recommend(tuple(variants))
    sentences = [
        _recommendation(variants, chosen),
        *_others(variants, chosen),
        *_worse_than_expected(variants),
        _suffering(variants, suffering),
        scores_text({v.name: _untold(v) for v in variants}),
        _claims(suffering),
        *(f"{v.name} failed and is not judged." for v in variants if v.status == "failed"),
    ]
    return Answer(
        text=" ".join(dict.fromkeys(sentence for sentence in sentences if sentence)),
        recommended=None if chosen is None else chosen.name,
        suffering=suffering,
        expectations=(expectations.source, expectations.digest),
    )


def _recommendation(variants: Sequence[VariantResult], chosen: VariantResult | None) -> str:
    judged = [one for one in variants if one.verdict is not None]
    if not judged:
        return "No variant could be judged."
    if chosen is None:
        return _none_acceptable(judged)
    verdict = chosen.verdict
    assert verdict is not None
    size = f" ({fmt.size(chosen.file_bytes)})" if chosen.file_bytes is not None else ""
    which = "the smallest variant that is acceptable" if len(judged) > 1 else "acceptable"
    text = f"{chosen.name}{size} is {which}"
    if verdict.corpus is not None:
        text += f": {_perplexity(verdict)}, which is `{verdict.level}`"
    return f"{text}.{_margins(verdict)}"


def _margins(verdict: Verdict) -> str:
    """How its capabilities stand to their margins, and what is not decided."""
    if not verdict.capabilities:
        return ""
    undecided = [n for n, one in verdict.capabilities.items() if one.outcome == "undecided"]
    if any(one.outcome == "exceeds" for one in verdict.capabilities.values()):
        return ""  # which, is said of each variant
    if not undecided:
        return " Every capability keeps its score within the margin."
    margins = {verdict.capabilities[name].margin for name in undecided}
    margin = f"{100 * margins.pop():g} points" if len(margins) == 1 else "their margins"
    where = listed(undecided, "or")
    if len(undecided) == len(verdict.capabilities) > 2:
        where = f"any of its {len(undecided)} capabilities"
    return f" Not decided: whether it loses more than {margin} on {where}; more items would tell."


def _none_acceptable(judged: Sequence[VariantResult]) -> str:
    text = "No variant is acceptable" if len(judged) > 1 else f"{judged[0].name} is not acceptable"
    unjudged = [one.name for one in judged if _level_missing(one.verdict)]
    if len(unjudged) == len(judged):
        return f"No verdict can be given on {listed(unjudged)}: a single window has no interval."
    if any(_only_undecided(one.verdict) for one in judged):
        text = text.replace("is acceptable", "is shown to be acceptable")
        text = text.replace("is not acceptable", "is not shown to be acceptable")
    verdict = judged[0].verdict
    return f"{text}.{_margins(verdict) if len(judged) == 1 and verdict is not None else ''}"


def _level_missing(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.corpus is not None and verdict.level is None


def _only_undecided(verdict: Verdict | None) -> bool:
    """Whether more items or text could still make it acceptable."""
    if verdict is None or any(one.outcome == "exceeds" for one in verdict.capabilities.values()):
        return False
    return verdict.level is None or not verdict.settled


def _others(variants: Sequence[VariantResult], chosen: VariantResult | None) -> list[str]:
    """Levels and margins of the variants that were not chosen."""
    levels: dict[str, list[str]] = {}
    sentences = []
    for one in variants:
        verdict = one.verdict
        if verdict is None or one is chosen:
            continue
        if verdict.level is not None:
            levels.setdefault(verdict.level, []).append(one.name)
        exceeded = [
            f"{name} ({fmt.points_plain(v.loss.value, v.loss.low, v.loss.high)} points)"
            for name, v in verdict.capabilities.items()
            if v.outcome == "exceeds"
        ]
        if exceeded:
            sentences.append(f"{one.name} loses more than the margin on {listed(exceeded)}.")
    parts = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} `{level}`"
        for level, names in levels.items()
    ]
    return ([f"{'; '.join(parts)}."] if parts else []) + sentences


def _untold(variant: VariantResult) -> dict[str, CapabilityResult]:
    """The capabilities that were not already said to lose more than their margin."""
    if variant.verdict is None:
        return {}
    verdicts = variant.verdict.capabilities
    return {
        name: result
        for name, result in (variant.capabilities or {}).items()
        if verdicts[name].outcome != "exceeds"
    }


def _worse_than_expected(variants: Sequence[VariantResult]) -> list[str]:
    sentences = []
    for one in variants:
        verdict = one.verdict
        if verdict is None or verdict.standing != "worse than expected":
            continue
        assert verdict.expected is not None
        assert verdict.expected.high is not None
        expected = f"{fmt.bound(verdict.expected.low)} to {fmt.bound(verdict.expected.high)}"
        sentences.append(
            f"{one.name} is worse than {verdict.expected.format} with {verdict.expected.bits:g} "
            f"bits leads to expect: {_perplexity(verdict)}, expected {expected}."
        )
    return sentences


def _perplexity(verdict: Verdict) -> str:
    found = verdict.relative_perplexity
    assert found is not None
    if found.value == found.low == found.high == 1:
        return f"its perplexity is exactly the reference's on {verdict.corpus}"
    times = fmt.ratio_interval(found.value, found.low, found.high).replace(" ", " times ", 1)
    return f"its perplexity is {times} the reference's on {verdict.corpus}"


def _suffering(variants: Sequence[VariantResult], together: Suffering | None) -> str:
    if together is None:
        alone = [one.suffering.text for one in variants if one.suffering is not None]
        if not alone:
            return ""
        if len(alone) == 1:
            return _capitalized(alone[0])
        if any(
            rank.probability_worst
            for one in variants
            if one.suffering
            for rank in one.suffering.ranking
        ):
            return ""  # each lost in other capabilities than the rest: their own texts say it
        return "On the right answers no variant diverges from the reference beyond the noise floor."
    if together.most is not None or together.most_by_score is not None:
        return f"Of {len(together.ranking)} capabilities, {together.text}"
    return _capitalized(together.text)


def _claims(suffering: Suffering | None) -> str:
    """The common claims one by one, with the figures of those that are decided."""
    found: dict[str, list[str]] = {"supported": [], "contradicted": [], "undecided": []}
    for claim in () if suffering is None else suffering.claims:
        text, m = claim.text, claim.measured
        if claim.outcome != "undecided" and m is not None:
            text += f" ({fmt.times_interval(m.value, m.low, m.high)})"
        found[claim.outcome].append(text)
    parts = [f"{outcome}: {', '.join(claims)}" for outcome, claims in found.items() if claims]
    return f"Of common claims, {'; '.join(parts)}." if parts else ""


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
