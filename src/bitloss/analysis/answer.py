"""The answer of the whole run: what is acceptable and what suffers most, in a few paragraphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitloss import wording as fmt
from bitloss.analysis.reasons import hidden_by_perplexity, perplexity_on
from bitloss.analysis.recommendation import recommend, recommendation_text, runner_up_text
from bitloss.analysis.sentences import exceeded_margins, scores_text
from bitloss.expectations import LEVELS, Expectations
from bitloss.results.models import VariantResult
from bitloss.results.tasks import Ability, CapabilityResult
from bitloss.results.verdicts import Answer, LossRanking, Verdict

__all__ = ["answer"]


def answer(
    variants: Sequence[VariantResult],
    ranking: LossRanking | None,
    expectations: Expectations,
    unmeasurable: Mapping[str, Ability] | None = None,
) -> Answer | None:
    """What the variants' verdicts come to; None without variants.

    Args:
        variants: with their verdicts.
        ranking: over all of them.
        expectations: that the verdicts were made with.
        unmeasurable: what the reference is not shown to be able to do, by capability.
    """
    if not variants:
        return None
    names = fmt.short_names([variant.name for variant in variants])
    full = {short: name for name, short in names.items()}
    variants = [one.model_copy(update={"name": names[one.name]}) for one in variants]
    chosen = recommend(variants)
    told = [text for text in (_out_of_domain(variants), _unmeasurable(unmeasurable or {})) if text]
    if told and not any(_measured(one.verdict) for one in variants):
        return Answer(
            paragraphs=tuple(told), expectations=(expectations.source, expectations.digest)
        )
    paragraphs = [
        *recommendation_text(variants, chosen),
        *told,
        runner_up_text(variants, chosen),
        " ".join(_others(variants, None if chosen is None else chosen.variant)),
        " ".join(_worse_than_expected(variants)),
        *_ranking_and_scores(variants, ranking),
        _claims(ranking),
        " ".join(
            f"{v.name} failed, so it has no verdict." for v in variants if v.status == "failed"
        ),
        _not_measured(variants),
    ]
    return Answer(
        paragraphs=tuple(paragraph for paragraph in paragraphs if paragraph),
        recommended=full[chosen.variant.name] if chosen and chosen.shown else None,
        least_risky=full[chosen.variant.name] if chosen and not chosen.shown else None,
        loss_ranking=ranking,
        expectations=(expectations.source, expectations.digest),
    )


def _measured(verdict: Verdict | None) -> bool:
    """Whether a verdict says anything of a variant."""
    if verdict is None:
        return False
    outcomes = {one.outcome for one in verdict.capabilities.values()}
    return verdict.corpus is not None or bool(outcomes - {"not measurable"})


def _out_of_domain(variants: Sequence[VariantResult]) -> str:
    """The texts that no verdict is drawn from; empty if there are none."""
    corpora = ((name, one) for variant in variants for name, one in variant.corpora.items())
    names = list(dict.fromkeys(name for name, one in corpora if one.out_of_domain))
    if not names:
        return ""
    return (
        f"Out of domain: {fmt.join_words(names)}, where the reference does worse than a uniform "
        "guess over its vocabulary."
    )


def _unmeasurable(abilities: Mapping[str, Ability]) -> str:
    """What no loss can be measured of, and why; empty if there is nothing of the kind."""
    if not abilities:
        return ""
    scores = [
        f"{name} ({fmt.share(one.score)}; guessing {fmt.share(one.chance)})"
        for name, one in abilities.items()
    ]
    return (
        f"Not measurable: {fmt.join_words(scores)}. The reference is not shown to do better than "
        "guessing there, so no variant can be shown to lose anything."
    )


def _not_measured(variants: Sequence[VariantResult]) -> str:
    """The tasks that the first engine cannot score, and why; empty if there are none."""
    by_reason: dict[str, list[str]] = {}
    for variant in variants:
        for task, why in (variant.not_measured or {}).items():
            by_reason.setdefault(why, []).append(f"{task} on {variant.name}")
    return " ".join(
        f"Not measured: {fmt.join_words(names)}: {why}." for why, names in by_reason.items()
    )


def _others(variants: Sequence[VariantResult], chosen: VariantResult | None) -> list[str]:
    """Levels of the variants that were not chosen, and what they lose."""
    levels: dict[str, list[str]] = {}
    hidden: list[str] = []
    lost: list[str] = []
    for one in variants:
        verdict = one.verdict
        if verdict is None or one is chosen:
            continue
        if verdict.level is not None:
            levels.setdefault(verdict.level, []).append(one.name)
        if hidden_by_perplexity(verdict):
            hidden.append(one.name)
        if exceeded := exceeded_margins(verdict):
            lost.append(f"{one.name} on {fmt.join_words(exceeded)}")
    parts = [
        f"{fmt.join_words(names)} {'is' if len(names) == 1 else 'are'} `{level}`"
        for level in LEVELS
        if (names := levels.get(level))
    ]
    sentences = [f"{'; '.join(parts)}."] if parts else []
    if hidden:
        sentences.append(f"By perplexity alone, {fmt.join_words(hidden)} would be acceptable.")
    if lost:
        sentences.append(f"Losses beyond the margin: {'; '.join(lost)}.")
    return sentences


def _worse_than_expected(variants: Sequence[VariantResult]) -> list[str]:
    sentences = []
    for one in variants:
        verdict = one.verdict
        if verdict is None or verdict.standing != "worse than expected":
            continue
        expected, corpus = verdict.expected, verdict.standing_corpus
        assert expected is not None
        assert expected.high is not None
        assert corpus is not None
        measured = perplexity_on(one.corpora[corpus].relative_perplexity, corpus)
        sentences.append(
            f"{one.name} is worse than expected for {expected.bits:g}-bit {expected.format}: "
            f"{measured}, expected {fmt.bound(expected.low)} to "
            f"{fmt.bound(expected.high)}."
        )
    return sentences


def _ranking_and_scores(
    variants: Sequence[VariantResult], overall: LossRanking | None
) -> tuple[str, str]:
    scores = scores_text({v.name: _unreported_capabilities(v) for v in variants})
    if overall is not None:
        return overall.text, scores
    rankings = [one.loss_ranking for one in variants if one.loss_ranking is not None]
    if len(rankings) == 1:
        return rankings[0].text, ""  # it has the variant's scores in it
    if rankings and all(one.loss.is_nothing for ranked in rankings for one in ranked.ranking):
        return "Every variant scores as the reference does on every item.", scores
    return "", scores  # the variants did not all answer every task


def _unreported_capabilities(variant: VariantResult) -> dict[str, CapabilityResult]:
    """The capabilities that were not already said to lose more than their margin."""
    if variant.verdict is None:
        return {}
    verdicts = variant.verdict.capabilities
    return {
        name: result
        for name, result in (variant.capabilities or {}).items()
        if verdicts[name].outcome not in ("lost", "not measurable")
    }


def _claims(ranking: LossRanking | None) -> str:
    """The common claims one by one, with the numbers of those that are decided."""
    by_outcome: dict[str, list[str]] = {"supported": [], "contradicted": [], "undecided": []}
    for claim in () if ranking is None else ranking.claims:
        shown = claim.measured if claim.outcome != "undecided" else None
        number = "" if shown is None else f" ({fmt.unsigned_points_interval(shown)} points)"
        by_outcome[claim.outcome].append(f"{claim.text}{number}")
    parts = [
        f"{outcome}: {fmt.join_words(claims)}" for outcome, claims in by_outcome.items() if claims
    ]
    return f"Common claims {'; '.join(parts)}." if parts else ""
