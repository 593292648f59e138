"""The axes of a verdict: what is judged, in which direction, and how levels come together.

An axis is a result on a corpus that has levels of its own. The order of `AXES` is that of
explanations: of several axes with the same level, the first is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = [
    "ACCEPTABLE", "AXES", "LEVELS", "Axis", "AxisName", "Level", "LevelRange", "better_of",
    "worst_of",
]  # fmt: skip

Level = Literal["yes", "usually", "marginal", "problematic"]
"""Whether a loss is acceptable, the best first."""

LEVELS: tuple[Level, ...] = ("yes", "usually", "marginal", "problematic")

ACCEPTABLE: tuple[Level, ...] = ("yes", "usually")
"""The levels of a variant that may be shipped."""

AxisName = Literal["relative_perplexity", "top1_agreement", "overlap", "kl_divergence"]
"""As in `bitloss.results.CorpusComparison`."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Attributes:
        name: as in results and in a file of expectations.
        short: heading of a table.
        at_most: whether less is better: a level's threshold is then the highest value it allows,
            else the lowest.
        share: whether it is a share from 0 to 1.
    """

    name: AxisName
    short: str
    at_most: bool
    share: bool

    def wrong(self, limits: tuple[float, float, float]) -> str:
        """What is wrong with the thresholds of yes, usually and marginal; empty if nothing is."""
        yes, usually, marginal = limits
        if self.share:
            if 1 >= yes > usually > marginal >= 0:
                return ""
            return "expected shares from 0 to 1 with yes > usually > marginal"
        if 0 < yes < usually < marginal:
            return ""
        return "expected positive limits with yes < usually < marginal"


AXES: Mapping[AxisName, Axis] = MappingProxyType(
    {
        axis.name: axis
        for axis in (
            Axis("relative_perplexity", "PPL", at_most=True, share=False),
            Axis("top1_agreement", "same top-1", at_most=False, share=True),
            Axis("overlap", "overlap", at_most=False, share=True),
            Axis("kl_divergence", "KLD", at_most=True, share=False),
        )
    }
)


@dataclass(frozen=True, slots=True)
class LevelRange:
    """The levels that an interval allows.

    Attributes:
        worst: by the pessimistic bound; None without one.
        best: by the other bound; None without one.
    """

    worst: Level | None
    best: Level | None

    @property
    def settled(self) -> bool:
        """Whether both bounds give the same level."""
        return self.worst is not None and self.worst == self.best

    @property
    def settles_acceptance(self) -> bool:
        """Whether both bounds are of an acceptable level, or both of one that is not."""
        known = self.worst is not None and self.best is not None
        return known and (self.worst in ACCEPTABLE) == (self.best in ACCEPTABLE)


def worst_of(ranges: Iterable[LevelRange]) -> LevelRange:
    """The levels of several results together: the worst counts, and a missing one leaves it open.

    Raises:
        ValueError: there are no results.
    """
    every = list(ranges)
    return LevelRange(_worst([one.worst for one in every]), _worst([one.best for one in every]))


def better_of(one: LevelRange, other: LevelRange) -> LevelRange:
    """At each bound the better of two levels; a missing one does not count."""
    return LevelRange(_better(one.worst, other.worst), _better(one.best, other.best))


def _worst(levels: list[Level | None]) -> Level | None:
    known = [level for level in levels if level is not None]
    return max(known, key=LEVELS.index) if len(known) == len(levels) else None


def _better(one: Level | None, other: Level | None) -> Level | None:
    if one is None or other is None:
        return one or other
    return min(one, other, key=LEVELS.index)
