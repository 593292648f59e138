"""Answers that changed, cut to what a page can carry, and marked where they part."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bitloss.reports.details import Details
from bitloss.reports.flips import Flip, FlipList
from bitloss.results import Comparison

__all__ = ["FlipsOfTask", "FlipsOfVariant", "Option", "Said", "ShownFlip", "flips", "part"]

# A page stays below 5 MB: what a reader looks at, not an archive. The records have all of it.
_QUESTION, _ANSWER, _OPTION = 1_200, 600, 240  # characters of one text
_ALL = 2_500_000  # bytes of all flips
_ALIKE = 240  # characters of what two answers begin alike with
_WORD_END = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Said:
    """An answer beside another one.

    Attributes:
        alike: what both begin with.
        parting: the first word that the other one does not have.
        rest: what follows.
        detail: why it was graded so; may be empty.
    """

    alike: str
    parting: str
    rest: str
    detail: str = ""

    def __bool__(self) -> bool:
        return any((self.alike, self.parting, self.rest, self.detail))


@dataclass(frozen=True, slots=True)
class Option:
    """An answer to choose, and whose it is: ``gold``, ``reference``, the variant's name."""

    text: str
    whose: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownFlip:
    """A flip as the page has it.

    Attributes:
        flip: its texts, cut.
        options: to choose from, with the two models' choices; empty where text was written.
        reference: what the reference wrote.
        variant: what the variant wrote.
    """

    flip: Flip
    options: tuple[Option, ...]
    reference: Said
    variant: Said


@dataclass(frozen=True, slots=True)
class FlipsOfVariant:
    """Flips of one variant on one task.

    Attributes:
        name: of the variant, short.
        lost: right to wrong, all of them.
        won: wrong to right, all of them.
        shown: those that the page has.
    """

    name: str
    lost: int
    won: int
    shown: tuple[ShownFlip, ...]


@dataclass(frozen=True, slots=True)
class FlipsOfTask:
    """Flips of all variants on one task."""

    name: str
    capability: str
    variants: tuple[FlipsOfVariant, ...]

    @property
    def total(self) -> int:
        """Of all variants."""
        return sum(one.lost + one.won for one in self.variants)


def flips(comparison: Comparison, details: Details) -> list[FlipsOfTask]:
    """By task in the order of the run, then by variant; tasks without a flip are left out."""
    cut = {
        task: {name: _cut(flip_list) for name, flip_list in of.items()}
        for task, of in details.flips.items()
    }
    most = _affordable(cut[task][name] for task in cut for name in cut[task])
    names, known = comparison.short_names, comparison.reference.tasks or {}
    for variant in comparison.variants:
        if variant.replicates is not None:  # what flipped is one replicate's own
            names[variant.name] += f" (seed {variant.replicates.seeds[0]})"
    order = {name: index for index, name in enumerate(known)}
    rows = []
    for task in sorted(cut, key=lambda name: order.get(name, len(order))):
        of = tuple(
            FlipsOfVariant(
                names.get(name, name),
                flip_list.right_to_wrong,
                flip_list.wrong_to_right,
                tuple(_shown(flip, names.get(name, name)) for flip in flip_list.flips[:most]),
            )
            for name, flip_list in cut[task].items()
        )
        capability = known[task].capability if task in known else ""
        rows.append(FlipsOfTask(task, capability, of))
    return rows


def _cut(flip_list: FlipList) -> FlipList:
    return replace(flip_list, flips=tuple(_cut_flip(flip) for flip in flip_list.flips))


def _shown(flip: Flip, variant: str) -> ShownFlip:
    options = _options(flip, variant)
    pair = (Said("", "", ""),) * 2 if options else part(flip.reference, flip.variant)
    reference, other = (
        replace(said, detail=_other_than(detail, answer))
        for said, detail, answer in zip(
            pair,
            (flip.reference_detail, flip.variant_detail),
            (flip.reference, flip.variant),
            strict=True,
        )
    )
    return ShownFlip(flip, options, reference, other)


def _options(flip: Flip, variant: str) -> tuple[Option, ...]:
    """None where text was written, or an answer is no option."""
    if len(flip.options) < 2 or not {flip.reference, flip.variant} <= set(flip.options):
        return ()
    chosen = (("gold", flip.gold), ("reference", flip.reference), (variant, flip.variant))
    return tuple(
        Option(text, tuple(whose for whose, its in chosen if its == text))
        for text in dict.fromkeys(flip.options)
    )


def _other_than(detail: str, answer: str) -> str:
    """What was graded, unless it is the answer itself."""
    return "" if detail.strip() == answer.strip() else detail


def part(one: str, other: str) -> tuple[Said, Said]:
    """Two texts, each in what both begin with, its first word that is its own, and the rest."""
    length = _n_alike(one, other)
    if any(text[length : length + 1].isalnum() for text in (one, other)):
        # Back to the beginning of the word: half a word alike is nothing to read.
        while length > 0 and one[length - 1].isalnum():
            length -= 1

    def said(text: str) -> Said:
        begin = len(text) - len(text[length:].lstrip())
        end = _WORD_END.search(text, begin)
        stop = len(text) if end is None else end.start()
        return Said(text[:begin], text[begin:stop], text[stop:])

    return said(one), said(other)


def _n_alike(one: str, other: str) -> int:
    """How many characters two texts begin alike with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cut_flip(flip: Flip) -> Flip:
    ahead = max(0, _n_alike(flip.reference, flip.variant) - _ALIKE)
    ahead = ahead if len(flip.options) < 2 else 0
    return replace(
        flip,
        question=_shortened(flip.question, _QUESTION, keep_end=True),
        options=tuple(_shortened(option, _OPTION) for option in flip.options),
        gold=_shortened(flip.gold, _ANSWER),
        reference=_shortened(_without_start(flip.reference, ahead), _ANSWER),
        variant=_shortened(_without_start(flip.variant, ahead), _ANSWER),
        reference_detail=_shortened(flip.reference_detail, _OPTION),
        variant_detail=_shortened(flip.variant_detail, _OPTION),
    )


def _without_start(text: str, n: int) -> str:
    """Two answers that begin alike for long part only later on."""
    return text if n <= _ALIKE else f"[{n:,} characters alike] … {text[n:]}"


def _shortened(text: str, most: int, *, keep_end: bool = False) -> str:
    """What a question asks stands at its end, what an answer says at its beginning."""
    left = len(text) - most
    if left <= 0:
        return text
    said = f"[{left:,} characters more]"
    return f"{said} … {text[left:]}" if keep_end else f"{text[:most]} … {said}"


def _affordable(lists: Iterable[FlipList]) -> int:
    """How many flips of each list fit into the page."""
    sizes: list[int] = []  # by rank in its list, of all lists together
    for flip_list in lists:
        for rank, flip in enumerate(flip_list.flips):
            sizes += [0] * (rank + 1 - len(sizes))
            sizes[rank] += _bytes(flip)
    total = 0
    for rank, size in enumerate(sizes):
        total += size
        if total > _ALL and rank:
            return rank
    return max(1, len(sizes))


def _bytes(flip: Flip) -> int:
    texts = (
        flip.question, *flip.options, flip.gold, flip.reference, flip.variant,
        flip.reference_detail, flip.variant_detail, flip.item, flip.subject,
    )  # fmt: skip
    # Signs that must be escaped take up to five bytes instead of one.
    escaped = sum(text.count(sign) for text in texts for sign in "<>&\"'")
    return sum(len(text.encode("utf-8", "replace")) for text in texts) + 4 * escaped + 400
