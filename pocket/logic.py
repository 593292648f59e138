"""Truth values, orders and syllogisms.

Kept apart: the whole boolean expression; the names in an order, with the property compared; the
three nouns of a syllogism.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from itertools import pairwise, product

from pocket.english import COMMON
from pocket.examples import Example, Part, draw, words

__all__ = ["reason"]

_NOUNS = words("blims torks vems quats frips drals snibs glorps mips zans plods wuggs krells yarps")
_COMPARED = (
    ("older", "younger", "oldest", "youngest"),
    ("taller", "shorter", "tallest", "shortest"),
    ("faster", "slower", "fastest", "slowest"),
    ("richer", "poorer", "richest", "poorest"),
)
_FORMS = ("all", "no", "some")
_ANSWERS = ("yes", "no", "unknown")


def reason(rng: random.Random, part: Part) -> Example:
    """A question of one of the three kinds; tests have fewer orders, which the model guesses."""
    kinds: tuple[Callable[[random.Random, Part], Example], ...] = (_boolean, _order, _syllogism)
    if part != "train":
        kinds = (_boolean, _boolean, _syllogism, _syllogism, _order)
    return rng.choice(kinds)(rng, part)


def _boolean(rng: random.Random, part: Part) -> Example:
    value = rng.random() < 0.5

    def make() -> str:
        while True:
            text = _expression(rng)
            if bool(eval(text, {"__builtins__": {}})) is value:  # made of our own words only
                return text

    text = draw(make, lambda drawn: f"boolean {drawn}", part)
    return _example(f"What is {text}?", str(value), ("True", "False"), "boolean")


def _expression(rng: random.Random) -> str:
    """Two to five operands, some negated, at most one pair of them in brackets."""
    count = rng.choice((2, 3, 4, 5))
    parts = []
    for index in range(count):
        parts.append(("not " if rng.random() < 0.35 else "") + rng.choice(("True", "False")))
        if index < count - 1:
            parts.append(rng.choice(("and", "or")))
    if count > 2 and rng.random() < 0.7:
        at = 2 * rng.randrange(count - 1)
        negated = "not " if rng.random() < 0.3 else ""
        parts[at : at + 3] = [f"{negated}( {' '.join(parts[at : at + 3])} )"]
    return " ".join(parts)


def _order(rng: random.Random, part: Part) -> Example:
    """Three to five names, each compared with the next one, told in any order."""
    count = rng.choice((3, 4, 4, 5))
    words = rng.choice(_COMPARED)
    names = draw(
        lambda: rng.sample(COMMON, count), lambda drawn: ("order", words[0], *sorted(drawn)), part
    )
    pairs = list(pairwise(names))
    rng.shuffle(pairs)
    told = [
        f"{first} is {words[0]} than {second}."
        if rng.random() < 0.5
        else f"{second} is {words[1]} than {first}."
        for first, second in pairs
    ]
    top = rng.random() < 0.5
    options = names.copy()
    rng.shuffle(options)
    question = f"{' '.join(told)} Who is the {words[2] if top else words[3]}?"
    return _example(question, names[0] if top else names[-1], tuple(options), "order")


def _syllogism(rng: random.Random, part: Part) -> Example:
    nouns = draw(lambda: rng.sample(_NOUNS, 3), lambda drawn: ("syllogism", *sorted(drawn)), part)
    a, b, c = nouns
    answer = rng.choice(_ANSWERS)
    while True:
        first, second, asked = (rng.choice(_FORMS) for _ in range(3))
        turned = rng.random() < 0.3
        if _follows(first, second, asked, turned) == answer:
            break
    premises = [_claim(first, a, b), _claim(second, c, b) if turned else _claim(second, b, c)]
    rng.shuffle(premises)
    question = f"{' '.join(premises)} Is it true that {_claim(asked, a, c, end='').lower()}?"
    return _example(question, answer, _ANSWERS, "syllogism")


def _claim(form: str, one: str, other: str, end: str = ".") -> str:
    return f"{form.capitalize()} {one} are {other}{end}"


@cache
def _follows(first: str, second: str, asked: str, turned: bool) -> str:
    """What holds in all worlds where the premises do: things are of 8 sorts, each there or not.

    Nothing is said of kinds that have no members: all three have some.
    """
    sorts = list(product((False, True), repeat=3))
    found = set()
    for there in product((False, True), repeat=len(sorts)):
        members = [sort for sort, present in zip(sorts, there, strict=True) if present]
        if not all(any(sort[kind] for sort in members) for kind in range(3)):
            continue
        pair = (2, 1) if turned else (1, 2)
        if _holds(first, members, 0, 1) and _holds(second, members, *pair):
            found.add(_holds(asked, members, 0, 2))
    return "unknown" if len(found) == 2 else "yes" if found == {True} else "no"


def _holds(form: str, members: list[tuple[bool, ...]], one: int, other: int) -> bool:
    inside = [member[other] for member in members if member[one]]
    return {"all": all(inside), "no": not any(inside), "some": any(inside)}[form]


def _example(question: str, answer: str, options: tuple[str, ...], subject: str) -> Example:
    return Example(f"Question: {question}\nAnswer:", answer, options, subject)
