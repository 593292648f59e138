"""Which capability of a variant, and of all variants together, suffers most.

A capability's loss is the one that its verdict is decided by (`bitloss.analysis.verdicts`): points
of the expected score where that stands for the score, else of the score. docs/verdicts.md has the
full definitions, and ``benchmarks/answer_units.py`` the measurement that chose this unit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bitloss.analysis.claims import BASELINE, check_claims, excess
from bitloss.analysis.replicated_losses import over_seeds
from bitloss.analysis.score_losses import (
    TaskChanges,
    deciding_loss,
    loss_together,
    probabilities_worst,
)
from bitloss.analysis.sentences import Ranked, ranking_text, scores_text
from bitloss.analysis.verdicts import decided_on
from bitloss.results.tasks import CapabilityResult
from bitloss.results.values import Estimate
from bitloss.results.verdicts import LossRanking, RankedCapability, ScoreKind

__all__ = ["SURE", "ItemLosses", "rank_losses"]

SURE = 0.975
"""How likely the worst has to be so. Of two that lose the same, either may be named: 5 % in all."""

Margins = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class ItemLosses:
    """What the variants of a run lost, item by item.

    Attributes:
        changes: by capability, of each of its tasks.
        seed: of the draws.
    """

    changes: Mapping[str, Sequence[TaskChanges]]
    seed: int

    def without(self, names: Collection[str]) -> ItemLosses:
        """The same without some of the capabilities."""
        return replace(self, changes={n: v for n, v in self.changes.items() if n not in names})


def rank_losses(
    losses: ItemLosses,
    results: Mapping[str, Mapping[str, CapabilityResult]],
    margins: Margins,
    names: Mapping[str, str],
) -> tuple[dict[str, LossRanking], LossRanking | None]:
    """What suffers most, in each variant and in all of them together.

    Args:
        losses: item by item, of variants that answered every task.
        results: the variants' results by capability; only variants in here are ranked.
        margins: how much of a capability may be lost.
        names: of the variants, as the text has them.

    Returns:
        By variant; and over those that `losses` has, each counting the same, None where none of
        them differs from the reference.
    """
    rankings = {
        variant: _ranked(
            {name: deciding_loss(result) for name, result in own.items()},
            {name: decided_on(result) for name, result in own.items()},
            Ranked(names[variant]),
            margins,
            seed=losses.seed,
            scores=own,
        )
        for variant, own in results.items()
        if own
    }
    return rankings, _rank_together(losses, rankings, names, margins)


def _rank_together(
    losses: ItemLosses,
    rankings: Mapping[str, LossRanking],
    names: Mapping[str, str],
    margins: Margins,
) -> LossRanking | None:
    """See `rank_losses`: an item's losses are averaged over the variants first."""
    answered = {name for tasks in losses.changes.values() for task in tasks for name in task.items}
    counted = [name for name in rankings if name in answered]
    if all(one.loss.is_nothing for name in counted for one in rankings[name].ranking):
        return None
    return _ranked(
        {
            name: over_seeds(loss_together(tasks, counted), tasks, counted)
            for name, tasks in losses.changes.items()
        },
        {
            name: "expected score" if any(task.expected for task in tasks) else "score"
            for name, tasks in losses.changes.items()
        },
        Ranked(names[counted[0]], counted=len(counted), of=len(rankings)),
        margins,
        seed=losses.seed,
    )


def _ranked(
    losses: Mapping[str, Estimate],
    kinds: Mapping[str, ScoreKind],
    subject: Ranked,
    margins: Margins,
    *,
    seed: int,
    scores: Mapping[str, CapabilityResult] | None = None,
) -> LossRanking:
    probability = probabilities_worst(losses, seed=seed)
    base = losses.get(BASELINE)
    ranking = tuple(
        RankedCapability(
            capability=name,
            loss=losses[name],
            decided_on=kinds[name],
            excess=None if base is None or name == BASELINE else excess(losses[name], base),
            probability_worst=probability[name],
        )
        for name in sorted(losses, key=lambda name: -(losses[name].value or 0.0))
    )
    ranked = LossRanking(
        baseline=None if base is None else BASELINE,
        ranking=ranking,
        worst=next((n for n in losses if len(losses) > 1 and probability[n] >= SURE), None),
        claims=check_claims(losses, margins),
    )
    after = scores_text({subject.name: scores}) if scores is not None else ""
    text = ranking_text(ranked, subject)
    return ranked.model_copy(update={"text": " ".join(part for part in (text, after) if part)})
