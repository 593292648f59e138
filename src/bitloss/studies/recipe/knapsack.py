"""The multiple-choice knapsack: one option of every group, the least loss within a size.

Exact. Groups are added one by one, and of the choices so far only those are kept that no other one
beats in both bytes and loss, and that can still lead to less than the best choice known. What they
can still lead to is bounded by the linear relaxation of the groups to come, whose solution follows
the lower convex hulls of their options (Sinha and Zoltners, Operations Research 27, 1979).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bitloss.types import FloatArray

__all__ = ["Choice", "Sized", "allocate", "fewest_bytes", "most_bytes"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a group.

    Attributes:
        nbytes: what it takes.
        loss: what it costs.
    """

    nbytes: int
    loss: float


@dataclass(frozen=True, slots=True)
class _Relaxed:
    """The least loss of groups within so many bytes, if options could be mixed."""

    nbytes: FloatArray
    loss: FloatArray

    def bound(self, room: FloatArray) -> FloatArray:
        """For each number of bytes, not fewer than the smallest options take."""
        return np.interp(room, self.nbytes, self.loss)


class Sized(Protocol):
    """Whatever takes bytes."""

    @property
    def nbytes(self) -> int:
        """How many."""


def fewest_bytes(groups: Sequence[Sequence[Sized]]) -> int:
    """Bytes of the smallest options."""
    return sum(min(option.nbytes for option in group) for group in groups)


def most_bytes(groups: Sequence[Sequence[Sized]]) -> int:
    """Bytes of the largest options."""
    return sum(max(option.nbytes for option in group) for group in groups)


def allocate(groups: Sequence[Sequence[Choice]], budget: int) -> tuple[int, ...]:
    """Choose an option of each group.

    Args:
        groups: of options; of equally good choices any may be taken.
        budget: bytes of all of them together, at most.

    Returns:
        By group, the index of the option.

    Raises:
        ValueError: the smallest options do not fit.
    """
    if fewest_bytes(groups) > budget:
        raise ValueError(f"expected at least {fewest_bytes(groups)} bytes, got {budget}")
    useful = [_undominated(group) for group in groups]
    relaxed = [_relax(useful[at:]) for at in range(len(useful) + 1)]
    best = _rounded_down(useful, budget)
    slack = 1e-12 * (1 + abs(best))
    sizes, losses = np.zeros(1), np.zeros(1)
    trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for at, group in enumerate(useful):
        n_options = len(group)
        grown = (sizes[:, None] + [option.nbytes for _, option in group]).ravel()
        lost = (losses[:, None] + [option.loss for _, option in group]).ravel()
        rest = relaxed[at + 1]
        room = budget - grown
        kept = np.flatnonzero(room >= rest.nbytes[0])
        kept = kept[lost[kept] + rest.bound(room[kept]) <= best + slack]
        kept = kept[np.lexsort((lost[kept], grown[kept]))]
        before = np.minimum.accumulate(np.concatenate([[np.inf], lost[kept][:-1]]))
        kept = kept[lost[kept] < before]
        sizes, losses = grown[kept], lost[kept]
        trail.append((kept // n_options, kept % n_options))
    place = int(np.argmin(losses))
    chosen: list[int] = []
    for (back, option), group in zip(reversed(trail), reversed(useful), strict=True):
        chosen.append(group[int(option[place])][0])
        place = int(back[place])
    return tuple(reversed(chosen))


_Options = Sequence[tuple[int, Choice]]


def _undominated(group: Sequence[Choice]) -> list[tuple[int, Choice]]:
    """Options that no other one beats in both, the smallest first, with their indices."""
    order = sorted(enumerate(group), key=lambda one: (one[1].nbytes, one[1].loss))
    kept: list[tuple[int, Choice]] = []
    for index, option in order:
        if not kept or option.loss < kept[-1][1].loss:
            kept.append((index, option))
    return kept


def _steps(group: _Options) -> list[tuple[float, int, float]]:
    """Steps along the lower convex hull: loss per byte, bytes and loss, the steepest first."""
    hull: list[Choice] = []
    for _, option in group:
        while len(hull) > 1 and _slope(hull[-2], option) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(option)
    return [
        (_slope(one, other), other.nbytes - one.nbytes, other.loss - one.loss)
        for one, other in itertools.pairwise(hull)
    ]  # fmt: skip


def _slope(one: Choice, other: Choice) -> float:
    return (other.loss - one.loss) / (other.nbytes - one.nbytes)


def _relax(groups: Sequence[_Options]) -> _Relaxed:
    steps = sorted(step for group in groups for step in _steps(group))
    start = sum(group[0][1].nbytes for group in groups)
    loss = sum(group[0][1].loss for group in groups)
    return _Relaxed(
        start + np.cumsum([0.0, *(step[1] for step in steps)]),
        loss + np.cumsum([0.0, *(step[2] for step in steps)]),
    )


def _rounded_down(groups: Sequence[_Options], budget: int) -> float:
    """The loss of a choice that fits: the steepest steps, as long as they do, one group's in order.

    It bounds the best one from above.
    """
    sizes = [group[0][1] for group in groups]
    total, loss = sum(one.nbytes for one in sizes), sum(one.loss for one in sizes)
    ended: set[int] = set()
    steps = sorted((step, at) for at, group in enumerate(groups) for step in _steps(group))
    for (_, nbytes, gain), at in steps:
        if at in ended or total + nbytes > budget:
            ended.add(at)  # a later step begins where this one ends
            continue
        total, loss = total + nbytes, loss + gain
    return float(loss)
