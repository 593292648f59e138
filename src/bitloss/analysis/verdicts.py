"""Whether a variant is acceptable, and whether its loss is usual for its format.

docs/verdicts.md says how each of these is decided, and why so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from bitloss.analysis.axes import judge_axes
from bitloss.analysis.families import Families, expected_row, families_of, judged_corpora
from bitloss.analysis.score_losses import as_interval, deciding_loss, loss_of
from bitloss.expectations import LEVELS, Expectations, Level
from bitloss.metrics.multiple import SIGNIFICANT
from bitloss.metrics.paired import mean_interval
from bitloss.results.models import VariantResult
from bitloss.results.tasks import Ability, CapabilityResult, VariantTask
from bitloss.results.values import Estimate, existing
from bitloss.results.verdicts import (
    CapabilityOutcome,
    CapabilityVerdict,
    Expected,
    ScoreKind,
    Verdict,
)

__all__ = [
    "decided_on",
    "is_contradicted",
    "judge",
    "judge_loss",
    "pool",
    "without_ability",
]

_Side = Literal["kept", "lost", "not shown"]


def judge(
    variant: VariantResult,
    expectations: Expectations,
    unmeasurable: Collection[str] = (),
    families: Families | None = None,
) -> Verdict | None:
    """The verdict on a variant; None if it failed or has no results.

    Args:
        variant: with its results.
        expectations: levels, margins and what formats lose as a rule.
        unmeasurable: capabilities that the reference does not have (`without_ability`).
        families: of the page; None if the variant stands on it alone.
    """
    if variant.status == "failed" or not (variant.corpora or variant.capabilities):
        return None
    families = families or families_of([variant], expectations, unmeasurable)
    corpora = judged_corpora(variant)
    row = expected_row(variant, expectations)
    expected = None if row is None else Expected(**row.model_dump(exclude={"names"}))
    capabilities = {
        name: judge_loss(
            result,
            expectations.margin(name),
            measurable=name not in unmeasurable,
            p_value=families.losses.get((variant.name, name)),
        )
        for name, result in (variant.capabilities or {}).items()
    }
    verdict = Verdict(
        level=None,
        expected=expected,
        capabilities=capabilities,
        outcome=_together(capabilities),
        pooled=pool(capabilities, p_value=families.pooled.get(variant.name)),
    )
    if not corpora:
        return verdict
    found = judge_axes(corpora, expectations)
    level = found.levels.worst
    return verdict.model_copy(
        update={
            "level": level,
            "decided_by": None if level is None else found.decided_by,
            "corpus": found.axes[found.decided_by].corpus,
            "settled": found.levels.settled,
            "axes": found.axes,
            **_standing(variant, level, expected, families),
        }
    )


def _standing(
    variant: VariantResult, level: Level | None, expected: Expected | None, families: Families
) -> dict[str, Any]:
    """How the perplexity compares with what is expected, by which p-value and on which corpus; no
    praise for what is less acceptable.
    """
    corpora = judged_corpora(variant)
    bounds = [one.relative_perplexity for one in corpora.values()]
    if expected is None or any(existing(x) is None for e in bounds for x in (e.low, e.high)):
        return {}
    above = {name: families.above.get((variant.name, name), 1.0) for name in corpora}
    worst = min(above, key=lambda name: above[name], default=None)
    if worst is not None and above[worst] < SIGNIFICANT:
        return {
            "standing": "worse than expected",
            "standing_corpus": worst,
            "standing_p_value": above[worst],
        }
    better = families.below.get(variant.name, 1.0)
    if better >= SIGNIFICANT:
        return {"standing": "as expected"}
    worse = level is None or LEVELS.index(level) > LEVELS.index(expected.level)
    return {} if worse else {"standing": "better", "standing_p_value": better}


def decided_on(result: CapabilityResult | VariantTask) -> ScoreKind:
    """Which of the two the deciding loss is of."""
    return "score" if result.expected_difference is None else "expected score"


def is_contradicted(result: CapabilityResult | VariantTask, margin: float) -> bool:
    """Whether score and expected score are on opposite sides of a margin: a flatter distribution
    loses expected score and no item. Then neither is believed.
    """
    sides = {_side(deciding_loss(result), margin), _side(loss_of(result), margin)}
    return sides == {"kept", "lost"}


def without_ability(
    abilities: Mapping[str, Ability], expectations: Expectations
) -> tuple[str, ...]:
    """The capabilities in which no loss can be measured.

    The reference is not shown to do better than guessing, or by no more than the margin: then
    every variant would be found to be within it.

    Args:
        abilities: the reference's, by capability.
        expectations: with the margins.
    """
    return tuple(
        name
        for name, one in abilities.items()
        if not one.measurable or one.score - one.chance <= expectations.margin(name)
    )


def judge_loss(
    capability: CapabilityResult | VariantTask,
    margin: float,
    *,
    measurable: bool = True,
    p_value: float | None = None,
) -> CapabilityVerdict:
    """Non-inferiority: a capability is kept if all of its loss's interval is within the margin.

    Args:
        capability: what was lost, by all of its tasks or by one.
        margin: the largest loss that is acceptable.
        measurable: whether the reference had something to lose.
        p_value: that no more than the margin was lost, adjusted for the page
            (`bitloss.analysis.families`); None if the interval alone decides.
    """
    loss = deciding_loss(capability)
    contradicted = measurable and is_contradicted(capability, margin)
    outcome: CapabilityOutcome = "not measurable"
    if measurable:
        outcome = "not shown" if contradicted else _corrected(_side(loss, margin), p_value)
    return CapabilityVerdict(
        loss=loss,
        decided_on=decided_on(capability),
        margin=margin,
        outcome=outcome,
        p_value=p_value if measurable else None,
        contradicted=contradicted or None,
        n_scored=capability.n_scored,
    )


def _corrected(side: _Side, p_value: float | None) -> _Side:
    """A loss is shown if it still is among all of the page."""
    if side == "lost" and p_value is not None and p_value >= SIGNIFICANT:
        return "not shown"
    return side


def _side(loss: Estimate, margin: float) -> _Side:
    low, high = existing(loss.low), existing(loss.high)
    if high is not None and high <= margin:
        return "kept"
    return "lost" if low is not None and low > margin else "not shown"


def _together(capabilities: Mapping[str, CapabilityVerdict]) -> _Side | None:
    outcomes = {one.outcome for one in capabilities.values()} - {"not measurable"}
    if not outcomes:
        return None
    if "lost" in outcomes:
        return "lost"
    return "kept" if outcomes == {"kept"} else "not shown"


def pool(
    capabilities: Mapping[str, CapabilityVerdict], *, p_value: float | None = None
) -> CapabilityVerdict | None:
    """The mean loss of the measurable capabilities against the mean of their margins.

    Args:
        capabilities: by name.
        p_value: see `judge_loss`.
    """
    ones = [one for one in capabilities.values() if one.outcome != "not measurable"]
    if not ones:
        return None
    loss = Estimate.of(mean_interval([as_interval(one.loss) for one in ones]))
    margin = sum(one.margin for one in ones) / len(ones)
    expected = any(one.decided_on == "expected score" for one in ones)
    return CapabilityVerdict(
        loss=loss,
        decided_on="expected score" if expected else "score",
        margin=margin,
        outcome=_corrected(_side(loss, margin), p_value),
        p_value=p_value,
        n_scored=sum(one.n_scored for one in ones),
    )
