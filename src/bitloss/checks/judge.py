"""A run against limits: every result is judged at the bounds of its interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from bitloss.analysis.families import loss_test, score_change
from bitloss.analysis.near_floor import capability_near_floor, is_near_floor, near_floor
from bitloss.analysis.nothing_to_lose import both_score_nothing
from bitloss.analysis.score_losses import deciding_loss
from bitloss.analysis.verdicts import is_contradicted
from bitloss.checks.result import WITHIN, CheckResult, Judgment, Outcome, WhenUndecided
from bitloss.checks.rules import Rule
from bitloss.checks.targets import Target, limits_for
from bitloss.metrics.multiple import SIGNIFICANT, adjust
from bitloss.results import Comparison, Estimate, VariantResult
from bitloss.tables.find import find_variants

__all__ = ["adjusted_losses", "conclude", "failed", "judge", "judge_estimate", "judgment_of"]

_Key = TypeVar("_Key", bound=Hashable)

_NO_ABILITY = "not measurable: the reference is not shown to do better than guessing"
_NOTHING = "not measurable: the reference and the variant both score 0%"
_NEAR_FLOOR = "the divergence is within ten noise floors: score with --dtype fp32"
_GAIN = "suspicious: the score rose significantly; is it the same model, calibrated fairly?"
_ONE_OF_MANY = "beyond the limit alone, but not significant among all losses (Holm's method)"
_CONTRADICTED = "score and expected score are on opposite sides of the limit"
_OUT_OF_DOMAIN = "out of domain: the reference does worse than guessing all tokens alike"


def judge(
    comparison: Comparison,
    rules: Sequence[Rule],
    *,
    variants: Sequence[str] = (),
    when_undecided: WhenUndecided = "skip",
    run: str = "",
) -> CheckResult:
    """Check the variants of a run against limits.

    A variant that failed has no results to be judged and fails the gate.

    Args:
        comparison: the run's result.
        rules: the limits; at least one.
        variants: the only ones to be judged; none is all.
        when_undecided: see `WhenUndecided`.
        run: where the result was read from.

    Raises:
        UnknownName: no such variant.
        UsageError: no limits or no variants, or limits for what is not in the run, all of them
            reported at once.
    """
    chosen = find_variants(comparison, variants)
    # The losses of all variants are one family, whichever of them were selected, as on a page.
    limits = limits_for(comparison, rules, comparison.variants)
    p_values = _loss_p_values(comparison, limits)
    judgments: list[Judgment] = []
    for variant in chosen:
        if variant.error is not None:
            judgments.append(failed(variant))
            continue
        for (key, target), rule in limits[variant.name].items():
            estimate = _estimate(variant, key, target)
            outcome, reason = judge_estimate(
                estimate, rule, p_value=p_values.get((variant.name, target))
            )
            if outcome == "fail" and _may_be_noise(variant, key, target, rule):
                outcome, reason = "undecided", _NEAR_FLOOR
            if meaningless := _meaningless(variant, key, target):
                outcome, reason = "undecided", meaningless
            elif _gains(variant, key, target):
                outcome, reason = "undecided", _GAIN
            elif _contradicted(variant, key, target, rule):
                outcome, reason = "undecided", _CONTRADICTED
            judgment = judgment_of(variant.name, rule, target, estimate, outcome, reason)
            if key == "max_kld" and _is_marked(variant, target):
                judgment = judgment.model_copy(update={"near_floor": True})
            judgments.append(judgment)
    return conclude(comparison, judgments, when_undecided=when_undecided, run=run)


def _loss_p_values(
    comparison: Comparison, limits: Mapping[str, Mapping[tuple[str, Target], Rule]]
) -> dict[tuple[str, Target], float]:
    """By variant and target, that a loss is within its limit, adjusted for all of them.

    With the margins as limits these are the p-values of the verdicts.
    """
    losses = {
        (variant.name, target): (_estimate(variant, key, target), rule.limit)
        for variant in comparison.variants
        if variant.error is None
        for (key, target), rule in limits[variant.name].items()
        if key == "max_loss" and not _meaningless(variant, key, target)
    }
    return adjusted_losses(losses)


def adjusted_losses(losses: Mapping[_Key, tuple[Estimate | None, float]]) -> dict[_Key, float]:
    """P-values that losses are within their limits, adjusted for their number (Holm).

    Args:
        losses: what was lost, and the limit; an exact copy, and what has no interval, is left out.
    """
    tests = {
        key: loss_test(found, limit)
        for key, (found, limit) in losses.items()
        if found is not None and not found.value == found.low == found.high == 0
    }
    return adjust({key: test for key, test in tests.items() if test is not None})


def conclude(
    comparison: Comparison,
    judgments: Sequence[Judgment],
    *,
    when_undecided: WhenUndecided,
    run: str,
    baseline: str | None = None,
) -> CheckResult:
    """The gate's result from its judgments."""
    outcomes = {judgment.outcome for judgment in judgments}
    outcome: Outcome = "pass"
    if "fail" in outcomes or ("undecided" in outcomes and when_undecided == "fail"):
        outcome = "fail"
    elif "undecided" in outcomes and when_undecided == "skip":
        outcome = "undecided"
    return CheckResult(
        outcome=outcome,
        when_undecided=when_undecided,
        run=run,
        baseline=baseline,
        reference=comparison.reference.name,
        judgments=tuple(judgments),
    )


def judge_estimate(
    estimate: Estimate | None, rule: Rule, *, p_value: float | None = None
) -> tuple[Outcome, str]:
    """Whether a result keeps a limit, and why if the numbers do not say it.

    Args:
        estimate: None where it was not measured.
        rule: the limit.
        p_value: that the limit is kept, adjusted for all losses of the gate; None if the interval
            alone decides.
    """
    if estimate is None:
        return "undecided", "not measured"
    if estimate.value is None or not math.isfinite(estimate.value):
        return "fail", "not a finite number"
    # The bound that must keep the limit, and the one that shows that it is broken.
    sign = 1.0 if rule.measure.at_most else -1.0
    ends = (estimate.high, estimate.low) if rule.measure.at_most else (estimate.low, estimate.high)
    worst, best = (None if end is None or math.isnan(end) else sign * end for end in ends)
    if worst is not None and worst <= sign * rule.limit:
        return "pass", ""
    if best is not None and best > sign * rule.limit:
        if p_value is not None and p_value >= SIGNIFICANT:
            return "undecided", _ONE_OF_MANY
        return "fail", ""
    if worst is None and best is None:
        return "undecided", "no interval: too little was scored"
    return "undecided", WITHIN


def judgment_of(
    variant: str,
    rule: Rule,
    target: Target,
    estimate: Estimate | None,
    outcome: Outcome,
    reason: str,
) -> Judgment:
    """The judgment as it is recorded; numbers that are not finite are null."""
    numbers = {}
    for name in ("value", "low", "high"):
        number = None if estimate is None else getattr(estimate, name)
        numbers[name] = None if number is None or not math.isfinite(number) else number
    return Judgment(
        variant=variant,
        measure=rule.measure.key,
        kind=target.kind,
        name=target.name,
        **numbers,
        limit=rule.limit,
        outcome=outcome,
        reason=reason,
    )


def failed(variant: VariantResult) -> Judgment:
    """The judgment on a variant that has no results."""
    assert variant.error is not None
    return Judgment(
        variant=variant.name, measure="measured", outcome="fail", reason=variant.error.message
    )


def _may_be_noise(variant: VariantResult, key: str, target: Target, rule: Rule) -> bool:
    """Whether a limit on what two models have in common may be broken by rounding alone.

    As in a verdict (`bitloss.analysis.axes`): within ten noise floors the floor is taken off a
    divergence, and top-1 agreement and overlap, whose floors are not measured, show nothing.
    """
    corpus = variant.corpora.get(target.name) if target.kind == "corpus" else None
    floor = None if corpus is None else near_floor(corpus)
    if corpus is None or floor is None or key not in ("max_kld", "min_top1", "min_overlap"):
        return False
    low = corpus.kl_divergence.low
    return key != "max_kld" or low is None or low - floor <= rule.limit


def _gains(variant: VariantResult, key: str, target: Target) -> bool:
    """Whether a capability's score rose significantly, which quantization does not explain."""
    result = (variant.capabilities or {}).get(target.name) if target.kind == "capability" else None
    return key == "max_loss" and result is not None and score_change(result) == "higher"


def _contradicted(variant: VariantResult, key: str, target: Target, rule: Rule) -> bool:
    results = (variant.tasks if target.kind == "task" else variant.capabilities) or {}
    result = results.get(target.name) if target.kind != "corpus" else None
    return result is not None and key == "max_loss" and is_contradicted(result, rule.limit)


def _is_marked(variant: VariantResult, target: Target) -> bool:
    """Whether a divergence is near the noise floor, as tables mark it."""
    if target.kind == "capability":
        return capability_near_floor(variant, target.name)
    results = variant.corpora if target.kind == "corpus" else variant.tasks or {}
    return target.name in results and is_near_floor(results[target.name])


def _meaningless(variant: VariantResult, key: str, target: Target) -> str:
    """Why a result is no evidence about the variant; empty if it is."""
    task = (variant.tasks or {}).get(target.name) if target.kind == "task" else None
    if key == "max_loss" and task is not None and both_score_nothing(task):
        return _NOTHING
    if target.kind == "capability" and target.name in variant.not_measurable:
        return _NO_ABILITY
    corpus = variant.corpora.get(target.name) if target.kind == "corpus" else None
    return _OUT_OF_DOMAIN if corpus is not None and corpus.out_of_domain else ""


def _estimate(variant: VariantResult, key: str, target: Target) -> Estimate | None:
    if target.kind == "corpus":
        corpus = variant.corpora.get(target.name)
        if corpus is None:
            return None
        return {
            "max_relative_perplexity": corpus.relative_perplexity,
            "min_top1": corpus.top1_agreement,
            "min_overlap": corpus.overlap,
            "max_kld": corpus.kl_divergence.estimate,
        }[key]
    results = (variant.tasks if target.kind == "task" else variant.capabilities) or {}
    result = results.get(target.name)
    if result is None:
        return None
    return result.kl_divergence if key == "max_kld" else deciding_loss(result)
