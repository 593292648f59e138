"""Answers that changed, cut to what a page can carry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bitloss.reports.details import Details
from bitloss.reports.flips import Flip, FlipList
from bitloss.results import Comparison

__all__ = ["FlipsOfTask", "FlipsOfVariant", "flips"]

# A page stays below 5 MB: what a reader looks at, not an archive. The records have all of it.
_QUESTION, _ANSWER, _OPTION = 1_200, 600, 240  # characters of one text
_ALL = 2_500_000  # bytes of all flips


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
    shown: tuple[Flip, ...]


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
                flip_list.flips[:most],
            )
            for name, flip_list in cut[task].items()
        )
        capability = known[task].capability if task in known else ""
        rows.append(FlipsOfTask(task, capability, of))
    return rows


def _cut(flip_list: FlipList) -> FlipList:
    return replace(flip_list, flips=tuple(_cut_flip(flip) for flip in flip_list.flips))


def _cut_flip(flip: Flip) -> Flip:
    return replace(
        flip,
        question=_shortened(flip.question, _QUESTION, keep_end=True),
        options=tuple(_shortened(option, _OPTION) for option in flip.options),
        gold=_shortened(flip.gold, _ANSWER),
        reference=_shortened(flip.reference, _ANSWER),
        variant=_shortened(flip.variant, _ANSWER),
        reference_detail=_shortened(flip.reference_detail, _OPTION),
        variant_detail=_shortened(flip.variant_detail, _OPTION),
    )


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
