"""What suffers most, and which scores fell, in sentences: only what is significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitloss import wording as fmt
from bitloss.results.tasks import CapabilityResult
from bitloss.results.values import Estimate
from bitloss.results.verdicts import Suffering

__all__ = ["SIGNIFICANT", "Ranked", "listed", "ranking_text", "scores_text", "suffers_most"]

SIGNIFICANT = 0.05
"""The largest p-value, adjusted by Holm's method, that is called significant."""

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
    def diverges(self) -> str:
        """As a sentence's subject and verb."""
        return f"{self._subject} diverge{'s' * (self.counted == 1)}"

    @property
    def loses(self) -> str:
        """Likewise."""
        return f"{self._subject} lose{'s' * (self.counted == 1)}"

    @property
    def _subject(self) -> str:
        if self.counted == 1:
            return self.name
        if self.counted == self.of:
            return f"the {self.of} variants"
        return f"{self.counted} of the {self.of} variants"


def ranking_text(
    found: Suffering, subject: Ranked, *, silent: Sequence[str], lead: Estimate | None
) -> str:
    """Which capability suffers most, in a sentence or two: by score, and by divergence.

    Where no score is shown to fall most, only divergences are spoken of.

    Args:
        found: the ranking; its text is not looked at.
        subject: whose.
        silent: capabilities whose divergence is within the noise floor.
        lead: how many times as far the first diverges as the second; None without both.
    """
    asked = [one.capability for one in found.ranking]
    if set(asked) <= set(silent):
        return _nothing(found, subject)
    if len(asked) == 1:
        return f"only {asked[0]} was asked: there is nothing to suffer less or more."
    tail = ""
    if silent:
        its = "its divergence is" if len(silent) == 1 else "their divergence is"
        says = "says" if len(silent) == 1 else "say"
        tail = f" {listed(silent)} {says} nothing: {its} within the noise floor."
    by_score = _by_score(found, subject)
    if found.most is None:
        likely = [
            f"{one.capability} ({_percent(one.probability_worst)})"
            for one in sorted(found.ranking, key=lambda one: -one.probability_worst)
            if one.probability_worst >= _LIKELY
        ]
        undecided = f"it may be {listed(likely, 'or')}.{tail}"
        if not by_score:
            return f"no capability is shown to suffer most; {undecided}"
        return f"{by_score}. By divergence none is shown to; {undecided}"
    how_far = f"{_how_far(found, subject, lead)}.{tail}"
    if not by_score:
        return f"{found.most} suffers most: {how_far}"
    same = found.most == found.most_by_score
    return f"{by_score}. By divergence {'too' if same else f'it is {found.most}'}: {how_far}"


def suffers_most(found: Suffering | None) -> str:
    """What suffers most in a word, by score where that is shown; empty where too little was asked.

    Args:
        found: a variant's ranking.
    """
    if found is None or len(found.ranking) < 2:
        return ""
    if one := found.most_by_score or found.most:
        return one
    return "undecided" if any(one.probability_worst for one in found.ranking) else "nothing"


def _by_score(found: Suffering, subject: Ranked) -> str:
    """The capability whose score fell most; empty where none is shown to be."""
    worst = next((one for one in found.ranking if one.capability == found.most_by_score), None)
    if worst is None:
        return ""
    lost = fmt.points_plain(worst.loss.value, worst.loss.low, worst.loss.high)
    average = " on average" if subject.counted > 1 else ""
    return f"{worst.capability} suffers most by score: {subject.loses} {lost} points{average}"


def _nothing(found: Suffering, subject: Ranked) -> str:
    exactly = all(one.kl_divergence.value == 0 for one in found.ranking)
    if exactly:
        return f"nothing suffers: {subject.name} is the reference's equal on every right answer."
    return (
        f"nothing suffers that could be measured: on the right answers {subject.diverges} no "
        "further from the reference than the noise floor."
    )


def _how_far(found: Suffering, subject: Ranked, lead: Estimate | None) -> str:
    worst = next(one for one in found.ranking if one.capability == found.most)
    where = f"on its right answers {subject.diverges}"
    beside, other = worst.standardized_loss, found.baseline
    if beside.value is None or worst.capability == found.baseline:
        others = [one.capability for one in found.ranking if one.capability != found.most]
        beside, other = lead or beside, f"{others[0]}, the next"
    if beside.value is None:
        return f"{where} from the reference, and on no other further than the noise floor"
    times = fmt.times_interval(beside.value, beside.low, beside.high)
    return f"{where} {times.replace(' ', ' times ', 1)} as far from the reference as on {other}"


def scores_text(variants: Mapping[str, Mapping[str, CapabilityResult]]) -> str:
    """The scores that changed significantly, a sentence a variant; nothing where none did.

    That is: the exact McNemar test, adjusted for the number of capabilities, is below 5 %, and the
    interval of the difference does not hold zero.

    Args:
        variants: figures by capability.
    """
    sentences = []
    for variant, capabilities in variants.items():
        changes: dict[str, list[str]] = {"lower": [], "higher": []}
        for name, result in capabilities.items():
            change = result.difference
            if result.p_value is None or result.p_value >= SIGNIFICANT:
                continue
            if change.value is None or change.low is None or change.high is None:
                continue
            if change.high < 0:
                lost = fmt.points_plain(-change.value, -change.high, -change.low)
                changes["lower"].append(f"on {name} by {lost} points")
            elif change.low > 0:
                won = fmt.points_plain(change.value, change.low, change.high)
                changes["higher"].append(f"on {name} by {won} points")
        parts = [f"{way} {listed(items)}" for way, items in changes.items() if items]
        if parts:
            sentences.append(f"{variant} scores {listed(parts)}.")
    return " ".join(sentences)


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %"
