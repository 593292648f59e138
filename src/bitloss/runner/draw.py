"""What a limit leaves of a text or a task: windows and items drawn at random, by the run's seed.

The first windows of a text are its first articles, and the first items of a task those that its
authors put first. An interval is about all of it and has to be of a sample of all of it:
``docs/decisions/0005-intervals.md`` has how often either holds.

A draw is an order: what is drawn is sorted by the sha256 of the seed and its own name, and a limit
takes the first of that order. So

* a larger limit contains what a smaller one drew, and nothing that was scored is lost;
* every machine draws alike, with every version of numpy, which guarantees the streams of its bit
  generators but not what `Generator` makes of them (NEP 19);
* an item is drawn by its id. Two tasks with the same items (HumanEval and HumanEval+) draw the
  same ones and share what models write, and rows that come or go do not move the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from bitloss.tasks.base import Item
from bitloss.types import Window

__all__ = ["draw_items", "draw_windows", "drawn_note", "item_order", "items_note", "shuffled"]


def draw_windows(
    windows: Sequence[Window], limit: int | None, *, text: str, seed: int
) -> tuple[Window, ...]:
    """So many windows of a text, in the order of the draw; all, in the text's, if it has no more.

    Every window holds the tokens that it needs before its scored ones, so it is drawn as it is.
    That is so for documents too: one that is longer than the context is several windows.

    Args:
        windows: of the text, in its order.
        limit: how many; None is all.
        text: digest of the text: another one is drawn from independently.
        seed: of the draw.

    Returns:
        The windows; drawn ones know their place in the text.
    """
    if limit is None or limit >= len(windows):
        return tuple(windows)
    return shuffled(windows, text=text, seed=seed)[:limit]


def shuffled(windows: Sequence[Window], *, text: str, seed: int) -> tuple[Window, ...]:
    """All windows of a text in the order of the draw, each with its place; see `draw_windows`."""
    places = sorted(range(len(windows)), key=lambda place: _lot(seed, text, str(place)))
    return tuple(replace(windows[place], place=place) for place in places)


def draw_items(items: Sequence[Item], limit: int | None, *, seed: int) -> list[Item]:
    """So many items of a task, as evenly over its subjects as can be, in the data's order.

    Which subjects have one more than others, or any at all if the limit is smaller than their
    number, is drawn too.

    Args:
        items: of the task, in the data's order.
        limit: how many; None is all.
        seed: of the draw.
    """
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index] for index in sorted(item_order(items, seed=seed)[:limit])]


def item_order(items: Sequence[Item], *, seed: int) -> list[int]:
    """The places of items in the order of the draw; see `draw_items`."""
    by_subject: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        by_subject.setdefault(item.subject, []).append(index)
    ranked = []
    for subject, own in by_subject.items():
        own.sort(key=lambda index: _lot(seed, "item", items[index].id))
        lot = _lot(seed, "subject", subject)
        # Rank within the subject first: one item of every subject, then a second one ...
        ranked += [(rank, lot, index) for rank, index in enumerate(own)]
    return [index for *_, index in sorted(ranked)]


def drawn_note(n: int, total: int, what: str, seed: int) -> str:
    """What a reader of the results should know of a draw."""
    return f"{n:,} of {total:,} {what}, drawn at random (seed {seed})"


def items_note(drawn: Sequence[Item], items: Sequence[Item], seed: int) -> str:
    """The same of a task, with what its averages estimate if it has subjects.

    Args:
        drawn: some of the items.
        items: all of them.
        seed: of the draw.
    """
    note = drawn_note(len(drawn), len(items), "items", seed)
    sizes = Counter(item.subject for item in items)
    if len(sizes) < 2:
        return note
    counts = Counter(item.subject for item in drawn)
    low, high = min(counts.values()), max(counts.values())
    if len(counts) < len(sizes):
        note += f", from {len(counts):,} of {len(sizes):,} subjects"
    else:
        each = (
            f"{low:,}" if low == high else f"{low:,} {'or' if high - low == 1 else 'to'} {high:,}"
        )
        note += f", {each} from each of {len(sizes):,} subjects"
    if len(set(sizes.values())) == 1:  # all averages are one
        return note
    if high - low <= 1:
        return (
            f"{note}: the score is the mean over these items (micro) and, like the mean over "
            "subjects (macro), estimates the mean over the task's subjects, not over its items"
        )
    return (
        f"{note}: the score is the mean over these items (micro), in which smaller subjects count "
        "more than in the whole task; the mean over subjects (macro) estimates the task's own"
    )


def _lot(seed: int, *names: str) -> bytes:
    return hashlib.sha256("\n".join((str(seed), *names)).encode()).digest()
