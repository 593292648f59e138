"""What suffers most, and which scores fell, in sentences: only what is significant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bitloss import wording as fmt
from bitloss.analysis.families import score_change
from bitloss.results.tasks import CapabilityResult
from bitloss.results.verdicts import LossRanking, RankedCapability, Verdict

__all__ = [
    "SUSPICIOUS",
    "Ranked",
    "exceeded_margins",
    "ranking_text",
    "scores_text",
    "worst_capability_label",
]

SUSPICIOUS = (
    "A gain beyond chance is suspicious: another model's file, a calibration text with the "
    "questions in it, or a fault in grading."
)

_LIKELY = 0.05  # capabilities less likely to be the worst are not named


@dataclass(frozen=True, slots=True)
class Ranked:
    """Whose losses were ranked.

    Attributes:
        name: of the variant; of the first of several.
        counted: how many variants.
        of: how many there are.
    """

    name: str
    counted: int = 1
    of: int = 1

    @property
    def loses(self) -> str:
        """As a sentence's subject and verb."""
        return f"{self._subject} {'loses' if self.counted == 1 else 'lose'}"

    @property
    def _subject(self) -> str:
        if self.counted == 1:
            return self.name
        if self.counted == self.of:
            return f"the {self.of} variants"
        return f"{self.counted} of the {self.of} variants"


# What suffers most ----------------------------------------------------------------------------


def ranking_text(ranked: LossRanking, subject: Ranked) -> str:
    """Which capability suffers most, in a few sentences.

    Args:
        ranked: the ranking; its text is not used.
        subject: whose.
    """
    ranking = ranked.ranking
    if all(one.loss.is_nothing for one in ranking):
        return f"No loss: {subject.name} scores as the reference does on every item."
    if len(ranking) == 1:
        return f"Only {ranking[0].capability} was evaluated, so there is nothing to rank."
    worst = next((one for one in ranking if one.capability == ranked.worst), None)
    if worst is None:
        likely = [
            f"{one.capability} ({100 * one.probability_worst:.0f}%)"
            for one in sorted(ranking, key=lambda one: -one.probability_worst)
            if one.probability_worst >= _LIKELY
        ]
        candidates = f"; it may be {fmt.join_words(likely, 'or')}" if likely else ""
        return f"No capability is shown to suffer most{candidates}."
    lost = fmt.unsigned_points_interval(worst.loss)
    average = " on average" if subject.counted > 1 else ""
    return (
        f"Of {len(ranking)} capabilities, {worst.capability} suffers most: "
        f"{subject.loses} {lost} points{average}{_beside(worst, ranked)}."
    )


def _beside(worst: RankedCapability, ranked: LossRanking) -> str:
    """How much that is beside text completion."""
    if worst.excess is None or worst.excess.low is None or worst.excess.low <= 0:
        return ""
    return f", {fmt.unsigned_points_interval(worst.excess)} more than on {ranked.baseline}"


def worst_capability_label(ranked: LossRanking | None) -> str:
    """What suffers most, for a table.

    Args:
        ranked: a variant's ranking.

    Returns:
        A capability, ``undecided`` or ``nothing``; empty if too little was evaluated.
    """
    if ranked is None or len(ranked.ranking) < 2:
        return ""
    if ranked.worst is not None:
        return ranked.worst
    return "nothing" if all(one.loss.is_nothing for one in ranked.ranking) else "undecided"


# Scores ---------------------------------------------------------------------------------------


def scores_text(variants: Mapping[str, Mapping[str, CapabilityResult]]) -> str:
    """The scores that changed significantly, one sentence per variant; nothing if none did.

    Args:
        variants: results by capability; `bitloss.analysis.families.score_change` decides.
    """
    sentences = []
    gained = False
    for variant, capabilities in variants.items():
        changes: dict[str, list[str]] = {"lower": [], "higher": []}
        for name, result in capabilities.items():
            way, change = score_change(result), result.difference
            if way is not None:
                size = change.negated() if way == "lower" else change
                points = fmt.unsigned_points_interval(size)
                changes[way].append(f"on {name} by {points} points")
        parts = [f"{word} {fmt.join_words(items)}" for word, items in changes.items() if items]
        if parts:
            sentences.append(f"{variant} scores {fmt.join_words(parts)}.")
        gained = gained or bool(changes["higher"])
    if gained:
        sentences.append(SUSPICIOUS)
    return " ".join(sentences)


def exceeded_margins(verdict: Verdict) -> list[str]:
    """The capabilities that lost more than their margin: ``math (6.5 [2.1, 10.8] points)``."""
    return [
        f"{name} ({fmt.unsigned_points_interval(one.loss)} points)"
        for name, one in verdict.capabilities.items()
        if one.outcome == "lost"
    ]
