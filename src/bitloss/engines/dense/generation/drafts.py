"""Tokens that may come next, from what was read before, so that several are checked in one forward.

A token that is drafted right saves a forward; one that is wrong is dropped, and nothing has changed
(Leviathan et al., 2023, arXiv:2211.17192, for greedy decoding). No second model is needed for it:
a variant mostly writes what the reference wrote here, and where it has parted from that, texts
repeat themselves and their prompts (Saxena, 2023, prompt lookup decoding). So drafts are the tokens
that followed the last few ones the last time: in the given draft, else in the text itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from bitloss.types import IntArray

__all__ = ["Drafter", "Share", "share_out"]

# Tokens that have to agree for what followed them to be drafted.
_SAME = 3
# How soon what was accepted before counts for little, in drafts.
_KEPT = 0.85
# Drafts that fill a block up cost next to nothing, but for attention.
_LEAST = 0.1
# A further block of rows against the first one of a forward.
_FURTHER = 0.8


@dataclass(slots=True)
class _Rate:
    """How often drafted tokens were right."""

    right: float
    tried: float

    @property
    def value(self) -> float:
        return self.right / self.tried

    def learn(self, accepted: int, drafted: int) -> None:
        self.right = _KEPT * self.right + accepted
        self.tried = _KEPT * self.tried + accepted + (accepted < drafted)


class Drafter:
    """Drafts of one text.

    Args:
        prompt: what it continues.
        draft: what another model wrote here; None is not known.
    """

    def __init__(self, prompt: IntArray, draft: IntArray | None) -> None:
        self._given: list[int] = [] if draft is None else draft.tolist()
        self._text: list[int] = prompt.tolist()
        # By the tokens before it, where in the text, or in the given draft, a token stands.
        self._in_text = _places(self._text)
        self._in_given: dict[tuple[int, ...], list[int]] = {}
        for at in range(_SAME, len(self._given)):
            self._in_given.setdefault(tuple(self._given[at - _SAME : at]), []).append(at)
        self._begin = len(self._text)
        self._at: int | None = 0 if self._given else None
        self._behind = 0  # how far the given draft's place is behind the text's
        self._given_rate, self._text_rate = _Rate(4.0, 5.0), _Rate(1.0, 2.0)

    def add(self, token: int) -> None:
        """The text has one more token."""
        self._in_text[tuple(self._text[-_SAME:])] = len(self._text)
        if self._at is not None:
            follows = self._at < len(self._given) and self._given[self._at] == token
            self._at = self._at + 1 if follows else None
        self._text.append(token)
        if self._at is None and (places := self._in_given.get(tuple(self._text[-_SAME:]))):
            # The nearest to where the two would stand if what they differ in were as long.
            here = len(self._text) - self._begin - self._behind
            self._at = min(places, key=lambda at: (abs(at - here), at))
        if self._at is not None:
            self._behind = len(self._text) - self._begin - self._at

    @property
    def rate(self) -> float:
        """How likely the next drafted token is right, if the one before it is."""
        return (self._text_rate if self._at is None else self._given_rate).value

    def next(self, count: int) -> list[int]:
        """Drafts of the next tokens, `count` at most."""
        if self._at is not None and self._at < len(self._given):
            return self._given[self._at : self._at + count]
        at = self._in_text.get(tuple(self._text[-_SAME:]))
        if at is None:
            return []
        period = len(self._text) - at  # what repeats itself goes on to do so
        return [self._text[at + n % period] for n in range(count)]

    def learn(self, accepted: int, drafted: int) -> None:
        """Before `add`: how many of the drafts were right."""
        if drafted:
            (self._text_rate if self._at is None else self._given_rate).learn(accepted, drafted)


def _places(tokens: Sequence[int]) -> dict[tuple[int, ...], int]:
    """By every few tokens, the place of the token that followed them the last time."""
    return {tuple(tokens[at - _SAME : at]): at for at in range(_SAME, len(tokens))}


@dataclass(frozen=True, slots=True)
class Share:
    """What a text may be given in a forward.

    Attributes:
        most: drafts at most.
        rate: see `Drafter.rate`.
    """

    most: int
    rate: float


def share_out(shares: Sequence[Share], block: int, room: int) -> list[int]:
    """How many tokens to draft for each text, one of whose tokens is read anyway.

    The likeliest come first. They fill up the block of rows that is computed anyway; a further
    block has to be worth what it costs, held against what a token costs without any drafts.

    Args:
        shares: of the texts.
        block: rows that cost about as much as fewer.
        room: drafts of all texts at most.
    """
    counts = [0] * len(shares)
    queue = [(-share.rate, n, 1) for n, share in enumerate(shares) if share.most > 0]
    heapq.heapify(queue)
    taken: list[tuple[float, int]] = []
    while queue and len(taken) < room:
        chance, n, depth = heapq.heappop(queue)
        if -chance < _LEAST:
            break
        taken.append((-chance, n))
        if depth < shares[n].most:
            heapq.heappush(queue, (chance * shares[n].rate, n, depth + 1))
    free = -len(shares) % block
    needed = _FURTHER * min(1.0, len(shares) / block)
    kept = min(free, len(taken))
    while kept < len(taken):
        further = taken[kept : kept + block]
        if sum(chance for chance, _ in further) < needed * block:
            break
        kept += len(further)
    for _, n in taken[:kept]:
        counts[n] += 1
    return counts
