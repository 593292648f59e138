"""Requests with constraints that a program can verify: the kinds of IFEval.

Kept apart: the thing described together with the kinds of constraints; and a keyword together with
the thing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pocket.english import OBJECTS
from pocket.examples import Example, Part, generator, part_of, words

__all__ = ["instruct"]

_QUALITIES = words(
    "old new small large heavy light red blue green black white round flat smooth rough warm cold "
    "clean dusty useful broken pretty strong simple rare cheap"
)
_KEYWORDS = words(
    "river garden winter morning window village kitchen mountain summer letter music children "
    "evening silver forest table harbour bread"
)
_ENDINGS = (
    "that is all", "so it goes", "the end", "all is well", "ask me again", "thank you",
    "good night", "no more words", "take care of it", "keep it safe",
)  # fmt: skip
_REQUESTS = ("Describe the {thing}.", "Tell me about the {thing}.", "Write about the {thing}.",
             "What is the {thing} like?")  # fmt: skip

Instruction = tuple[str, dict[str, Any]]


@dataclass(slots=True)
class _Plan:
    """What the response has to be.

    Attributes:
        thing: what it is about.
        words: keywords to be used.
        forbidden: a quality not to be used.
        count: sentences or bullet points; 0 is left open.
        bullets: whether it is a list of bullet points.
        asks: the constraints in words.
        rules: the constraints as IFEval names them.
    """

    thing: str
    words: list[str] = field(default_factory=list)
    forbidden: str = ""
    count: int = 0
    bullets: bool = False
    comma: bool = True
    title: bool = False
    quoted: bool = False
    ending: str = ""
    postscript: bool = False
    asks: list[str] = field(default_factory=list)
    rules: list[Instruction] = field(default_factory=list)


@cache
def _qualities(thing: str) -> tuple[str, ...]:
    """What the thing is like: always the same, most typical first."""
    return tuple(generator("qualities", thing).sample(_QUALITIES, 8))


def instruct(rng: random.Random, part: Part) -> Example:
    """A request with one to four constraints, and a response that follows them all."""
    while True:
        thing = rng.choice(OBJECTS)
        kinds = sorted(_kinds(rng, part))
        word = rng.choice(_KEYWORDS)
        parts = {part_of("instructions", thing, *kinds)}
        if "words" in kinds:
            parts.add(part_of("keyword", thing, word))
        if parts == {part}:
            break
    plan = _Plan(thing)
    rng.shuffle(kinds)
    for kind in kinds:
        ask, rule = _apply(kind, plan, word, rng)
        plan.asks.append(ask)
        plan.rules.append(rule)
    request = " ".join([rng.choice(_REQUESTS).format(thing=thing), *plan.asks])
    return Example(
        question=f"Request: {request}\nReply:",
        answer=_response(plan),
        subject="+".join(sorted(kinds)),
        data={"instructions": [list(rule) for rule in plan.rules]},
    )


def _kinds(rng: random.Random, part: Part) -> list[str]:
    """One to four kinds that go together; tests have fewer, since many are beyond the model."""
    shape = rng.choice(("bullets", "bullets", "sentences", "sentences", "short", "", ""))
    others = ["words", "forbidden", "comma", "title", "quoted", "ending", "postscript", "often"]
    if shape == "short":  # no room for more
        others = ["forbidden", "comma", "quoted"]
    if shape == "bullets":
        others = ["words", "forbidden", "comma", "title", "ending"]
    wanted = rng.choice((1, 2, 3, 3, 4) if part == "train" else (1, 1, 1, 2, 3))
    kinds = [shape] if shape else []
    kinds += rng.sample(others, min(wanted - len(kinds), len(others)))
    if {"ending", "postscript"} <= set(kinds):
        kinds.remove("postscript")
    if {"words", "often"} <= set(kinds):
        kinds.remove("often")
    return kinds


def _apply(kind: str, plan: _Plan, word: str, rng: random.Random) -> tuple[str, Instruction]:
    """Put a constraint into the plan; what it says, and how it is checked."""
    thing = plan.thing
    match kind:
        case "bullets":
            plan.bullets, plan.count = True, rng.randint(2, 4)
            text = f"Use exactly {plan.count} bullet points."
            return text, ("detectable_format:number_bullet_lists", {"num_bullets": plan.count})
        case "sentences":
            number = rng.randint(2, 4)
            plan.count = max(plan.count, number)
            text = f"Use at least {number} sentences."
            given = {"num_sentences": number, "relation": "at least"}
            return text, ("length_constraints:number_sentences", given)
        case "short":
            plan.count, plan.comma = 1, False
            number = rng.randint(7, 12)
            given = {"num_words": number, "relation": "less than"}
            return f"Use less than {number} words.", ("length_constraints:number_words", given)
        case "words":
            plan.words = [word]
            return f"Use the word {word}.", ("keywords:existence", {"keywords": [word]})
        case "often":
            plan.words = [thing]
            plan.count = max(plan.count, 3)
            given = {"keyword": thing, "frequency": 3, "relation": "at least"}
            return f"Use the word {thing} at least 3 times.", ("keywords:frequency", given)
        case "forbidden":
            plan.forbidden = rng.choice(_qualities(thing)[:3])
            given = {"forbidden_words": [plan.forbidden]}
            return f"Do not use the word {plan.forbidden}.", ("keywords:forbidden_words", given)
        case "comma":
            plan.comma = False
            return "Do not use commas.", ("punctuation:no_comma", {})
        case "title":
            plan.title = True
            return "Put a title in double angular brackets.", ("detectable_format:title", {})
        case "quoted":
            plan.quoted = True
            return "Put all of it in double quotes.", ("startend:quotation", {})
        case "ending":
            plan.ending = rng.choice(_ENDINGS)
            return f"End with the words {plan.ending}.", (
                "startend:end_checker",
                {"end_phrase": plan.ending},
            )
    plan.postscript = True
    return "Add a postscript that begins with P.S.", (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
    )


def _response(plan: _Plan) -> str:
    qualities = [one for one in _qualities(plan.thing) if one != plan.forbidden]
    lines = _bullets(plan, qualities) if plan.bullets else [" ".join(_sentences(plan, qualities))]
    if plan.title:
        lines.insert(0, f"<<The {plan.thing}>>")
    if plan.ending:
        lines.append(plan.ending.capitalize())
    if plan.postscript:
        lines.append(f"P.S. It is {qualities[-1]}.")
    text = "\n".join(lines)
    return f'"{text}"' if plan.quoted else text


def _bullets(plan: _Plan, qualities: Sequence[str]) -> list[str]:
    texts = [f"It is {quality}" for quality in qualities[: plan.count]]
    if plan.words:
        texts[0] += f" like the {plan.words[0]}"
    if plan.comma:
        texts[-1] += f", and {qualities[plan.count]}"
    return [f"* {text}." for text in texts]


def _sentences(plan: _Plan, qualities: Sequence[str]) -> list[str]:
    """One sentence by default; a comma unless there may be none."""
    often = plan.words == [plan.thing]
    first = f"The {plan.thing} is {qualities[0]}"
    first += f", {qualities[1]} and {qualities[2]}." if plan.comma else f" and {qualities[1]}."
    texts = [first]
    for quality in qualities[3 : 2 + max(plan.count, 1)]:
        texts.append(f"The {plan.thing} is {quality}." if often else f"It is {quality}.")
    if plan.words and not often:
        texts.append(f"It is like the {plan.words[0]}.")
    return texts
