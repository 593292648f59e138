"""What an example is, and which ones are kept for tests.

Every example has keys: the numbers, names or combinations that make it what it is. A hash of a key
says which part it belongs to. An example for training has training keys only, so whatever a test
item asks was never seen in training, whichever way it was drawn.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

__all__ = ["PARTS", "Example", "Part", "draw", "generator", "part_of", "words"]

T = TypeVar("T")
Part = Literal["train", "dev", "test"]
PARTS: tuple[Part, ...] = ("train", "dev", "test")

_SHARES = 8
"""Of so many shares of all keys one is for tests and one for validation."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its right answer.

    Attributes:
        question: what stands before the answer.
        answer: the right one, without the delimiter before it.
        options: of which `answer` is one; empty where a text is asked for.
        subject: part of its kind.
        data: what grading needs besides.
        more: further questions about the same, with their answers, that follow in training: so one
            text has more to be learnt from.
    """

    question: str
    answer: str
    options: tuple[str, ...] = ()
    subject: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    more: tuple[tuple[str, str], ...] = ()


def part_of(*key: object) -> Part:
    """The part that a key belongs to: the same in every run and on every machine."""
    share = zlib.crc32("/".join(map(str, key)).encode()) % _SHARES
    return "test" if share == 0 else "dev" if share == 1 else "train"


def generator(*seed: object) -> random.Random:
    """Random numbers that depend on nothing but the seed."""
    return random.Random("/".join(map(str, seed)))


def draw(make: Callable[[], T], key: Callable[[T], object], part: Part) -> T:
    """Draw until the key belongs to the part.

    Raises:
        RuntimeError: 10,000 draws were not enough: the part is empty.
    """
    for _ in range(10_000):
        drawn = make()
        if part_of(key(drawn)) == part:
            return drawn
    raise RuntimeError(f"nothing of the part `{part}` in 10,000 draws")


def words(text: str) -> tuple[str, ...]:
    """The words of a list that is written as one text."""
    return tuple(text.split())
