"""Which capability of a variant, and of all variants together, suffers most.

A capability's loss is the mean change of its gold answers (`VariantTask.answer_change`): the answer
is the unit, so that a worked solution that is lost weighs as much as the letter of an option, and
no answer weighs more than one. Its *standardized* loss is that over the change on text completion.
The baseline is the same for all capabilities of a variant, so which one suffers most does not
depend on it. docs/verdicts.md has the full definitions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bitloss.analysis.claims import BASELINE, check_claims
from bitloss.analysis.score_losses import loss_together, probabilities_worst
from bitloss.analysis.sentences import Ranked, ranking_text, scores_text
from bitloss.analysis.verdicts import loss_of
from bitloss.metrics.clusters import Clusters
from bitloss.metrics.intervals import Interval, Series
from bitloss.metrics.ranking import (
    LogMean,
    log_means,
    mean_of,
    mean_with_limits,
    named_seed,
    probability_largest,
    ratio,
)
from bitloss.results.tasks import CapabilityResult
from bitloss.results.values import Estimate
from bitloss.results.verdicts import LossRanking, RankedCapability

__all__ = ["AnswerLosses", "rank_losses", "rank_mean_losses"]

SURE = 0.95

_UNKNOWN = Estimate(value=None, low=None, high=None)


@dataclass(frozen=True, slots=True)
class AnswerLosses:
    """What the variants of a run lost, item by item.

    Attributes:
        changes: of the gold answers; by capability, for each task, by variant; clusters of items
            in the items' place, where there are any.
        floors: by capability, the mean of its tasks' noise floors, in the same unit.
        scores: score differences from the reference; by capability, for each task, by variant.
        seed: of the bootstrap.
        clusters: of the items of `scores`; by capability, for each task. None, or without the
            capability, where every item stands alone.
    """

    changes: Mapping[str, Sequence[Mapping[str, Series]]]
    floors: Mapping[str, float]
    scores: Mapping[str, Sequence[Mapping[str, Series]]]
    seed: int
    clusters: Mapping[str, Sequence[Clusters | None]] = field(default_factory=dict)

    def without(self, names: Collection[str]) -> AnswerLosses:
        """The same without some of the capabilities."""
        return replace(
            self,
            changes={n: v for n, v in self.changes.items() if n not in names},
            floors={n: v for n, v in self.floors.items() if n not in names},
            scores={n: v for n, v in self.scores.items() if n not in names},
        )


@dataclass(frozen=True, slots=True)
class _Measured:
    """One variant's losses, or the mean of several variants'.

    Attributes:
        capabilities: log changes by name.
        floors: likewise, not logarithms.
        baseline: what they are divided by; None if it is unknown or within its noise floor.
    """

    capabilities: Mapping[str, LogMean]
    floors: Mapping[str, float]
    baseline: LogMean | None

    @property
    def lost(self) -> list[str]:
        """The capabilities that change by more than the noise floor, the largest first."""
        known = self.capabilities
        above = [name for name in known if known[name].value > _log(self.floors[name])]
        return sorted(above, key=lambda name: -known[name].value)


def rank_losses(
    losses: AnswerLosses, results: Mapping[str, Mapping[str, CapabilityResult]]
) -> tuple[dict[str, LossRanking], LossRanking | None]:
    """What suffers most, in each variant and in all of them together.

    Args:
        losses: item by item.
        results: the variants' results by capability; only variants in here are ranked.

    Returns:
        By variant, if a task with gold answers was run; and over the variants that lost
        something in every capability in which any of them did, each counting the same, None where
        there is no such variant.
    """
    measured = _measure(losses, list(results))
    name = BASELINE if BASELINE in losses.changes else None
    rankings = {
        variant: _ranked(
            one,
            name,
            Ranked(variant),
            change={c: results[variant][c].answer_change for c in one.capabilities},
            loss={c: loss_of(results[variant][c]) for c in one.capabilities},
            seed=losses.seed,
            scores=results[variant],
        )
        for variant, one in measured.items()
    }
    return rankings, rank_mean_losses(measured, name, losses)


def rank_mean_losses(
    measured: Mapping[str, _Measured],
    baseline: str | None,
    losses: AnswerLosses,
) -> LossRanking | None:
    """See `rank_losses`: the mean of the variants' log losses, each counting the same.

    Args:
        measured: by variant.
        baseline: its name.
        losses: item by item.
    """
    anywhere = {name for one in measured.values() for name in one.lost}
    counted = [variant for variant, one in measured.items() if anywhere <= set(one.lost)]
    if not anywhere or not counted:
        return None
    ones = [measured[variant] for variant in counted]
    shared = [n for n in ones[0].capabilities if all(n in one.capabilities for one in ones)]
    bases = [one.baseline for one in ones if one.baseline is not None]
    logs = {name: mean_of([one.capabilities[name] for one in ones]) for name in shared}
    base = mean_of(bases) if len(bases) == len(ones) else None
    if base is not None and baseline is not None:
        base = logs[baseline]  # so that its ratio to itself is exactly 1
    together = _Measured(logs, {name: ones[0].floors[name] for name in shared}, base)
    return _ranked(
        together,
        baseline,
        Ranked(counted[0], counted=len(counted), of=len(measured)),
        change={name: Estimate.of(mean_with_limits(log)) for name, log in logs.items()},
        loss={
            name: loss_together(losses.scores[name], counted, losses.clusters.get(name))
            for name in shared
        },
        seed=losses.seed,
    )


def _measure(losses: AnswerLosses, variants: list[str]) -> dict[str, _Measured]:
    logs: dict[str, dict[str, LogMean]] = {variant: {} for variant in variants}
    for name, tasks in losses.changes.items():
        for variant, log in log_means(tasks, seed=named_seed(losses.seed, name)).items():
            if variant in logs:
                logs[variant][name] = log
    return {
        variant: _Measured(own, losses.floors, _baseline(losses, own))
        for variant, own in logs.items()
        if own
    }


def _baseline(losses: AnswerLosses, logs: Mapping[str, LogMean]) -> LogMean | None:
    """What a variant's losses are divided by, if it is above its noise floor."""
    log = logs.get(BASELINE)
    return log if log is not None and log.value > _log(losses.floors[BASELINE]) else None


def _ranked(
    measured: _Measured,
    baseline: str | None,
    subject: Ranked,
    *,
    change: Mapping[str, Estimate | None],
    loss: Mapping[str, Estimate],
    seed: int,
    scores: Mapping[str, CapabilityResult] | None = None,
) -> LossRanking:
    logs, lost = measured.capabilities, measured.lost
    silent = sorted((name for name in logs if name not in lost), key=lambda n: -logs[n].value)
    # What is at its floor may be anything up to it: the worst must be above that.
    floor = _log(max((measured.floors[name] for name in silent), default=0.0))
    shares = probability_largest([logs[name].draws for name in lost], above=floor)
    probability = dict(zip(lost, shares, strict=True))
    by_score = probabilities_worst({name: loss[name] for name in logs}, seed=seed)
    ranking = tuple(
        RankedCapability(
            capability=name,
            standardized_loss=_standardized(logs[name], measured.baseline, known=name in lost),
            answer_change=change[name] or _UNKNOWN,
            loss=loss[name],
            probability_worst=probability.get(name, 0.0),
            probability_worst_by_score=by_score[name],
        )
        for name in (*lost, *silent)
    )
    worst = next((name for name in lost if len(logs) > 1 and probability[name] >= SURE), None)
    rest = [name for name in lost if name != worst]
    ranked = LossRanking(
        baseline=baseline,
        ranking=ranking,
        worst_by_answers=worst,
        worst_by_score=next(
            (name for name in logs if len(logs) > 1 and by_score[name] >= SURE), None
        ),
        claims=check_claims(ranking, silent=silent),
    )
    lead = _shown(ratio(logs[worst], logs[rest[0]])) if worst and rest else None
    text = ranking_text(ranked, subject, silent=silent, lead=lead)
    after = scores_text({subject.name: scores}) if scores is not None else ""
    return ranked.model_copy(update={"text": " ".join(part for part in (text, after) if part)})


def _standardized(log: LogMean, baseline: LogMean | None, *, known: bool) -> Estimate:
    """A loss over the baseline's; no limits for one that is within its noise floor."""
    if baseline is None:
        return _UNKNOWN
    times = _shown(ratio(log, baseline))
    return times if known else Estimate(value=times.value, low=None, high=None)


def _shown(interval: Interval) -> Estimate:
    estimate = Estimate.of(interval)
    return _UNKNOWN if estimate.value is None or math.isnan(estimate.value) else estimate


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
