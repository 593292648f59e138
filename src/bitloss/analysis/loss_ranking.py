"""Which capability of a variant, and of all variants together, suffers most.

A capability's loss is the mean divergence from the reference on its gold answers; its
*standardized* loss is that over the divergence of a baseline: text completion, or the first corpus
if that was not evaluated. The baseline is the same for all capabilities of a variant, so which one
suffers most does not depend on it. docs/verdicts.md has the full definitions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bitloss.analysis.claims import check_claims
from bitloss.analysis.score_losses import loss_together, probabilities_worst
from bitloss.analysis.sentences import Ranked, ranking_text, scores_text
from bitloss.analysis.verdicts import loss_of
from bitloss.metrics.intervals import Interval, Series, block_length
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

__all__ = ["BASELINE", "CorpusDivergence", "Divergences", "rank_losses", "rank_mean_losses"]

BASELINE = "text completion"
SURE = 0.95

_UNKNOWN = Estimate(value=None, low=None, high=None)


@dataclass(frozen=True, slots=True)
class CorpusDivergence:
    """The divergence on a corpus, used in place of text completion.

    Attributes:
        name: of the corpus.
        series: by variant, window by window; a variant near the floor may have fewer windows.
        floors: by variant, the noise floor of the arithmetic it was measured in.
    """

    name: str
    series: Mapping[str, Series]
    floors: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Divergences:
    """The divergences on gold answers of a run, and its changes of score, item by item.

    Attributes:
        capabilities: by name; for each task, by variant, item by item.
        floors: by capability, the mean of its tasks' noise floors.
        changes: score differences from the reference; by capability, for each task, by variant.
        corpus: the first; None if none was scored, or text completion was evaluated.
        seed: of the bootstrap.
    """

    capabilities: Mapping[str, Sequence[Mapping[str, Series]]]
    floors: Mapping[str, float]
    changes: Mapping[str, Sequence[Mapping[str, Series]]]
    corpus: CorpusDivergence | None
    seed: int

    def without(self, names: Collection[str]) -> Divergences:
        """The same without some of the capabilities."""
        return replace(
            self,
            capabilities={n: v for n, v in self.capabilities.items() if n not in names},
            floors={n: v for n, v in self.floors.items() if n not in names},
            changes={n: v for n, v in self.changes.items() if n not in names},
        )


@dataclass(frozen=True, slots=True)
class _Measured:
    """One variant's losses, or the mean of several variants'.

    Attributes:
        capabilities: log divergences by name.
        floors: likewise, not logarithms.
        baseline: what they are divided by; None if it is unknown or within its noise floor.
    """

    capabilities: Mapping[str, LogMean]
    floors: Mapping[str, float]
    baseline: LogMean | None

    @property
    def lost(self) -> list[str]:
        """The capabilities whose divergence is above the noise floor, the largest first."""
        known = self.capabilities
        above = [name for name in known if known[name].value > _log(self.floors[name])]
        return sorted(above, key=lambda name: -known[name].value)


def rank_losses(
    divergences: Divergences, results: Mapping[str, Mapping[str, CapabilityResult]]
) -> tuple[dict[str, LossRanking], LossRanking | None]:
    """What suffers most, in each variant and in all of them together.

    Args:
        divergences: item by item.
        results: the variants' results by capability; only variants in here are ranked.

    Returns:
        By variant, if a task with gold answers was run; and over the variants that lost
        something in every capability in which any of them did, each counting the same, None where
        there is no such variant.
    """
    measured = _measure(divergences, list(results))
    name = _baseline_name(divergences)
    rankings = {
        variant: _ranked(
            one,
            name,
            Ranked(variant),
            kl={c: results[variant][c].kl_divergence for c in one.capabilities},
            loss={c: loss_of(results[variant][c]) for c in one.capabilities},
            seed=divergences.seed,
            scores=results[variant],
        )
        for variant, one in measured.items()
    }
    return rankings, rank_mean_losses(measured, name, divergences)


def rank_mean_losses(
    measured: Mapping[str, _Measured],
    baseline: str,
    divergences: Divergences,
) -> LossRanking | None:
    """See `rank_losses`: the mean of the variants' log losses, each counting the same.

    Args:
        measured: by variant.
        baseline: its name.
        divergences: item by item.
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
    if base is not None and baseline in logs:
        base = logs[baseline]  # so that its ratio to itself is exactly 1
    together = _Measured(logs, {name: ones[0].floors[name] for name in shared}, base)
    return _ranked(
        together,
        baseline,
        Ranked(counted[0], counted=len(counted), of=len(measured)),
        kl={name: Estimate.of(mean_with_limits(log)) for name, log in logs.items()},
        loss={name: loss_together(divergences.changes[name], counted) for name in shared},
        seed=divergences.seed,
    )


def _measure(divergences: Divergences, variants: list[str]) -> dict[str, _Measured]:
    logs: dict[str, dict[str, LogMean]] = {variant: {} for variant in variants}
    for name, tasks in divergences.capabilities.items():
        for variant, log in log_means(tasks, seed=named_seed(divergences.seed, name)).items():
            if variant in logs:
                logs[variant][name] = log
    return {
        variant: _Measured(own, divergences.floors, _baseline(divergences, variant, own))
        for variant, own in logs.items()
        if own
    }


def _baseline_name(divergences: Divergences) -> str:
    if BASELINE in divergences.capabilities or divergences.corpus is None:
        return BASELINE
    return divergences.corpus.name


def _baseline(
    divergences: Divergences, variant: str, logs: Mapping[str, LogMean]
) -> LogMean | None:
    """What a variant's losses are divided by, if it is above its noise floor."""
    corpus = divergences.corpus
    if BASELINE in divergences.capabilities:
        log, floor = logs.get(BASELINE), divergences.floors[BASELINE]
    elif corpus is not None and variant in corpus.series:
        series = corpus.series[variant]
        seed = named_seed(divergences.seed, f"corpus {corpus.name}")
        block = block_length(len(series.means))
        log = log_means([{variant: series}], seed=seed, block=block)[variant]
        floor = corpus.floors[variant]
    else:
        return None
    return log if log is not None and log.value > _log(floor) else None


def _ranked(
    measured: _Measured,
    baseline: str,
    subject: Ranked,
    *,
    kl: Mapping[str, Estimate | None],
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
            kl_divergence=kl[name] or _UNKNOWN,
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
        worst_by_divergence=worst,
        worst_by_score=next(
            (name for name in logs if len(logs) > 1 and by_score[name] >= SURE), None
        ),
        claims=check_claims(ranking, baseline, silent=silent),
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
