"""A run against limits: every figure is judged at the bounds of its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bitloss.check.places import Thing, limits_for
from bitloss.check.result import CheckResult, Judgement, Outcome, WhenUndecided
from bitloss.check.rules import Rule
from bitloss.results import Comparison, Estimate, VariantResult
from bitloss.tables.find import find_variants

__all__ = ["conclude", "failed", "judge", "judge_estimate", "judgement_of"]


def judge(
    comparison: Comparison,
    rules: Sequence[Rule],
    *,
    variants: Sequence[str] = (),
    when_undecided: WhenUndecided = "skip",
    run: str = "",
) -> CheckResult:
    """Hold the variants of a run to limits.

    A variant that failed has no figures to be judged and fails the gate.

    Args:
        comparison: the run's result.
        rules: the limits; at least one.
        variants: the only ones to be judged; none is all.
        when_undecided: see `WhenUndecided`.
        run: where the result was read from.

    Raises:
        UnknownName: no such variant.
        UsageError: no limits or no variants, or limits for what is not in the run, all of them
            told at once.
    """
    chosen = find_variants(comparison, variants)
    judgements: list[Judgement] = []
    limits = limits_for(comparison, rules, chosen)
    for variant in chosen:
        if variant.error is not None:
            judgements.append(failed(variant))
            continue
        for (key, thing), rule in limits[variant.name].items():
            estimate = _figure(variant, key, thing)
            outcome, reason = judge_estimate(estimate, rule)
            judgements.append(judgement_of(variant.name, rule, thing, estimate, outcome, reason))
    return conclude(comparison, judgements, when_undecided=when_undecided, run=run)


def conclude(
    comparison: Comparison,
    judgements: Sequence[Judgement],
    *,
    when_undecided: WhenUndecided,
    run: str,
    baseline: str | None = None,
) -> CheckResult:
    """The gate's result from its judgements."""
    found = {judgement.outcome for judgement in judgements}
    outcome: Outcome = "pass"
    if "fail" in found or ("undecided" in found and when_undecided == "fail"):
        outcome = "fail"
    elif "undecided" in found and when_undecided == "skip":
        outcome = "undecided"
    return CheckResult(
        outcome=outcome,
        when_undecided=when_undecided,
        run=run,
        baseline=baseline,
        reference=comparison.reference.name,
        judgements=tuple(judgements),
    )


def judge_estimate(estimate: Estimate | None, rule: Rule) -> tuple[Outcome, str]:
    """Whether a figure keeps a limit, and why where the figure does not say it.

    Args:
        estimate: None where it was not measured.
        rule: the limit.
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
        return "fail", ""
    if worst is None and best is None:
        return "undecided", "no interval: too little was scored"
    return "undecided", "the limit lies within the interval"


def judgement_of(
    variant: str,
    rule: Rule,
    thing: Thing,
    estimate: Estimate | None,
    outcome: Outcome,
    reason: str,
) -> Judgement:
    """The record of what was found; numbers that are not finite are null."""
    numbers = {}
    for name in ("value", "low", "high"):
        number = None if estimate is None else getattr(estimate, name)
        numbers[name] = None if number is None or not math.isfinite(number) else number
    return Judgement(
        variant=variant,
        measure=rule.measure.key,
        kind=thing.kind,
        name=thing.name,
        **numbers,
        limit=rule.limit,
        outcome=outcome,
        reason=reason,
    )


def failed(variant: VariantResult) -> Judgement:
    """Of a variant that has no figures."""
    assert variant.error is not None
    return Judgement(
        variant=variant.name, measure="measured", outcome="fail", reason=variant.error.message
    )


def _figure(variant: VariantResult, key: str, thing: Thing) -> Estimate | None:
    if thing.kind == "corpus":
        corpus = variant.corpora.get(thing.name)
        if corpus is None:
            return None
        if key == "max_relative_perplexity":
            return corpus.relative_perplexity
        if key == "min_top1":
            return corpus.top1_agreement
        divergence = corpus.kl_divergence
        return Estimate(value=divergence.mean, low=divergence.low, high=divergence.high)
    found = (variant.tasks if thing.kind == "task" else variant.capabilities) or {}
    result = found.get(thing.name)
    if result is None:
        return None
    if key == "max_kld":
        return result.kl_divergence
    value, low, high = (
        None if x is None else 0.0 - x
        for x in (result.difference.value, result.difference.high, result.difference.low)
    )
    return Estimate(value=value, low=low, high=high)
