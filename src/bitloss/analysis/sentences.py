"""What suffers most, and which scores fell, in sentences: only what is significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitloss import wording as fmt
from bitloss.results.tasks import CapabilityResult
from bitloss.results.values import Estimate
from bitloss.results.verdicts import LossRanking, Verdict

__all__ = [
    "SIGNIFICANT",
    "SUSPICIOUS",
    "Ranked",
    "exceeded_margins",
    "ranking_text",
    "scores_text",
    "worst_capability_label",
]

SIGNIFICANT = 0.05
"""The largest p-value, adjusted by Holm's method, that is called significant."""

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
    def changes(self) -> str:
        """As a sentence's subject and verb."""
        return f"{self._subject} {'changes' if self.counted == 1 else 'change'}"

    @property
    def loses(self) -> str:
        """Likewise."""
        return f"{self._subject} {'loses' if self.counted == 1 else 'lose'}"

    @property
    def _subject(self) -> str:
        if self.counted == 1:
            return self.name
        if self.counted == self.of:
            return f"the {self.of} variants"
        return f"{self.counted} of the {self.of} variants"


# What suffers most ----------------------------------------------------------------------------


def ranking_text(
    ranked: LossRanking, subject: Ranked, *, silent: Sequence[str], lead: Estimate | None
) -> str:
    """Which capability suffers most, in a few sentences: by score, and by its answers.

    If no score is shown to fall most, only answers are mentioned.

    Args:
        ranked: the ranking; its text is not used.
        subject: whose.
        silent: capabilities whose answers change by no more than the noise floor.
        lead: how many times as much the first changes as the second; None without both.
    """
    names = [one.capability for one in ranked.ranking]
    if set(names) <= set(silent):
        return _no_loss(ranked, subject)
    if len(names) == 1:
        return f"Only {names[0]} was evaluated, so there is nothing to rank."
    sentences = [_by_score(ranked, subject), _by_answers(ranked, subject, lead)]
    if silent:
        sentences.append(
            f"On {fmt.join_words(silent)} answers change by no more than the noise floor."
        )
    return " ".join(sentence for sentence in sentences if sentence)


def _no_loss(ranked: LossRanking, subject: Ranked) -> str:
    if all(one.answer_change.value == 0 for one in ranked.ranking):
        return f"No loss: {subject.name} matches the reference on every gold answer."
    return f"No measurable loss: {subject.changes} gold answers by no more than the noise floor."


def _by_score(ranked: LossRanking, subject: Ranked) -> str:
    """The capability whose score fell most; empty if none is shown to be."""
    worst = next((one for one in ranked.ranking if one.capability == ranked.worst_by_score), None)
    if worst is None:
        return ""
    lost = fmt.unsigned_points_interval(worst.loss)
    average = " on average" if subject.counted > 1 else ""
    return (
        f"By score, {worst.capability} suffers most of {len(ranked.ranking)} capabilities: "
        f"{subject.loses} {lost} points{average}."
    )


def _by_answers(ranked: LossRanking, subject: Ranked, lead: Estimate | None) -> str:
    worst, by_score = ranked.worst_by_answers, ranked.worst_by_score
    if worst is None:
        likely = [
            f"{one.capability} ({100 * one.probability_worst:.0f}%)"
            for one in sorted(ranked.ranking, key=lambda one: -one.probability_worst)
            if one.probability_worst >= _LIKELY
        ]
        nothing = "No capability is shown to suffer most"
        if by_score is not None:
            nothing = "By its answers, none is shown to"
        candidates = f"; it may be {fmt.join_words(likely, 'or')}" if likely else ""
        return f"{nothing}{candidates}."
    if by_score is None:
        opening = f"By its answers, {worst} suffers most of {len(ranked.ranking)} capabilities"
    elif worst == by_score:
        opening = "By its answers, it does too"
    else:
        opening = f"By its answers, it is {worst}"
    return f"{opening}: {subject.changes} them {_how_much(ranked, lead)}."


def _how_much(ranked: LossRanking, lead: Estimate | None) -> str:
    """The answers of the capability that changes most."""
    worst = next(one for one in ranked.ranking if one.capability == ranked.worst_by_answers)
    times, other = worst.standardized_loss, ranked.baseline
    if times.value is None or worst.capability == ranked.baseline:
        rest = [one.capability for one in ranked.ranking if one is not worst]
        times, other = lead or times, f"{rest[0]}, the next"
    if times.value is None:
        return "beyond the noise floor, and no others"
    return f"{fmt.times_interval(times).in_unit('times')} as much as those of {other}"


def worst_capability_label(ranked: LossRanking | None) -> str:
    """What suffers most, for a table: by score if that is shown, else by its answers.

    Args:
        ranked: a variant's ranking.

    Returns:
        A capability, ``undecided`` or ``nothing``; empty if too little was evaluated.
    """
    if ranked is None or len(ranked.ranking) < 2:
        return ""
    if worst := ranked.worst_by_score or ranked.worst_by_answers:
        return worst
    return "undecided" if any(one.probability_worst for one in ranked.ranking) else "nothing"


# Scores ---------------------------------------------------------------------------------------


def scores_text(variants: Mapping[str, Mapping[str, CapabilityResult]]) -> str:
    """The scores that changed significantly, one sentence per variant; nothing if none did.

    That is: the exact McNemar test, adjusted for the number of capabilities, is below 5%, and the
    interval of the difference excludes zero.

    Args:
        variants: results by capability.
    """
    sentences = []
    gained = False
    for variant, capabilities in variants.items():
        changes: dict[str, list[str]] = {"lower": [], "higher": []}
        for name, result in capabilities.items():
            change = result.difference
            if result.p_value is None or result.p_value >= SIGNIFICANT:
                continue
            if change.value is None or change.low is None or change.high is None:
                continue
            if change.high < 0:
                lost = fmt.unsigned_points_interval(change.negated())
                changes["lower"].append(f"on {name} by {lost} points")
            elif change.low > 0:
                won = fmt.unsigned_points_interval(change)
                changes["higher"].append(f"on {name} by {won} points")
        parts = [f"{way} {fmt.join_words(items)}" for way, items in changes.items() if items]
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
