"""Which option is right: by its text, a letter, an index or a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

__all__ = ["AmbiguousGold", "GoldAs", "describe", "index_of", "infer_gold_kind"]

GoldAs = Literal["text", "letter", "index", "number"]
_READINGS: tuple[GoldAs, ...] = ("text", "letter", "index", "number")
_WORDS = {
    "text": "an option's text",
    "letter": "a letter",
    "index": "an index from 0",
    "number": "a number from 1",
}


class AmbiguousGold(Exception):  # noqa: N818 - never leaves `bitloss.tasks.custom`
    """The data can be read in two ways that differ."""


def index_of(gold: str, options: Sequence[str], reading: GoldAs) -> int | None:
    """The right option's index from 0; None where `gold` says nothing under this reading."""
    gold = gold.strip()
    if reading == "text":
        stripped = [option.strip() for option in options]
        return stripped.index(gold) if gold in stripped else None
    if reading == "letter":
        index = ord(gold.upper()) - ord("A") if len(gold) == 1 and gold.isascii() else -1
    else:
        digits = gold.isascii() and gold.isdecimal() and len(gold) < 10
        index = int(gold) - (reading == "number") if digits else -1
    return index if 0 <= index < len(options) else None


def infer_gold_kind(golds: Sequence[tuple[str, Sequence[str]]]) -> GoldAs:
    """The reading under which every gold names one of its options.

    Where none is, the one that fits the most rows, so that the others can be reported.

    Args:
        golds: the gold field's text and the options, by row.

    Raises:
        AmbiguousGold: two readings fit every row, and disagree about some.
    """
    read = {
        reading: [index_of(gold, options, reading) for gold, options in golds]
        for reading in _READINGS
    }
    fitting = [reading for reading in _READINGS if None not in read[reading]]
    if not fitting:
        return max(_READINGS, key=lambda reading: len(golds) - read[reading].count(None))
    first, *others = fitting
    for other in others:
        if read[other] != read[first]:
            raise AmbiguousGold(
                f"the gold field can be read as {_WORDS[first]} or as {_WORDS[other]}; add "
                f"`gold_as: {first}` or `gold_as: {other}`"
            )
    return first


def describe(reading: GoldAs) -> str:
    """What a gold field holds under this reading."""
    return _WORDS[reading]
