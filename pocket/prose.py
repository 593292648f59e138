"""Stories whose last word was introduced in their first sentences, and passages of facts.

Kept apart: who has what. A test's last word is a thing (or a town, or a person) whose owner never
had it in any training story.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from pocket.chinese import chinese
from pocket.english import COMMON, OBJECTS, english
from pocket.examples import Example, Part, draw, part_of, words
from pocket.world import World

__all__ = ["cast", "chinese_passage", "closing", "crowd", "opening", "passage", "story"]

_ADJECTIVES = words("worn new small large heavy light fine plain broken wooden painted shiny")
_PLACES = words("hill lake forest market bridge mill tower harbour well barn chapel quarry")
_WEATHER = (
    "It rained all day.", "The sun was warm.", "A cold wind blew.", "There was snow on the road.",
    "The fog was thick.", "The night was clear.", "The road was dry.", "Clouds hid the moon.",
)  # fmt: skip
_DOINGS = (
    "They rested at the {place}.", "They met an old man near the {place}.",
    "Nobody was at the {place}.", "They talked about the {place} for an hour.",
    "At noon they came to the {place}.", "Behind the {place} they heard a dog.",
    "They ate bread by the {place}.", "The way to the {place} was long.",
)  # fmt: skip
_HAS = ("{name} had a {adjective} {thing}", "{name} carried a {adjective} {thing}",
        "{name} brought a {adjective} {thing}")  # fmt: skip
_THING_LAST = (
    "At last {name} put down the", "In the evening {name} could not find the",
    "Before they slept, {name} cleaned the", "On the way back {name} lost the",
    "Then {name} took out the", "A stranger asked {name} for the",
)  # fmt: skip
_NAME_LAST = (
    "Then somebody stole the {thing}, and nobody was as sad as",
    "The {thing} was gone, so they asked", "A child found the {thing} and gave it back to",
    "They needed the {thing}, so they looked for",
)  # fmt: skip
_TOWN_LAST = (
    "When it was over, {name} went home to", "A week later {name} was back in",
    "Then a letter came for {name} from", "The next year they visited {name} in",
)  # fmt: skip
_LASTS = {"thing": _THING_LAST, "name": _NAME_LAST, "town": _TOWN_LAST}


def story(rng: random.Random, part: Part) -> Example:
    """A story without its last word and the full stop behind it; the last word is the answer."""
    return _story(rng, part, (1, 1, 1, 2))


def crowd(rng: random.Random, part: Part) -> Example:
    """The same with more people: of whom the last word is, has to be looked up too."""
    return _story(rng, part, (2, 3, 3, 4))


def _story(rng: random.Random, part: Part, people: tuple[int, ...]) -> Example:
    kind = rng.choice(("thing", "thing", "name", "town"))
    n_people = rng.choice(people)
    names, owned, asked = cast(rng, part, n_people, kind)
    first = opening(rng, kind, names, owned)
    middle = [
        text.format(place=rng.choice(_PLACES))
        for text in (rng.choice(_WEATHER), *rng.sample(_DOINGS, rng.choice((1, 2))))
    ]
    rng.shuffle(middle)
    order = [asked, *rng.sample([i for i in range(n_people) if i != asked], n_people - 1)]
    order += [asked] * (2 if n_people == 1 else 0)  # in training, nobody is asked for but once
    closings = [
        (text.format(name=names[at], thing=owned[at]), names[at] if kind == "name" else owned[at])
        for at, text in zip(order, rng.sample(_LASTS[kind], len(order)), strict=True)
    ]
    question = " ".join([first, *middle, closings[0][0]])
    more = tuple((f". {last}", answer) for last, answer in closings[1:])
    return Example(question, closings[0][1], subject=kind, more=more if part == "train" else ())


def opening(rng: random.Random, kind: str, names: Sequence[str], owned: Sequence[str]) -> str:
    """The sentence that says who has what, or comes from where."""
    if kind == "town":
        clauses = [f"{name} came from {town}" for name, town in zip(names, owned, strict=True)]
    else:
        clauses = [
            rng.choice(_HAS).format(name=name, thing=thing, adjective=rng.choice(_ADJECTIVES))
            for name, thing in zip(names, owned, strict=True)
        ]
    return _sentence(clauses)


def closing(rng: random.Random, kind: str, name: str, thing: str) -> str:
    """A sentence less its last word, which the opening tells."""
    return rng.choice(_LASTS[kind]).format(name=name, thing=thing)


def cast(
    rng: random.Random, part: Part, n_people: int, kind: str
) -> tuple[list[str], list[str], int]:
    """People, what each has or where they come from, and which of them is asked for.

    Nobody has what is kept for another part; outside of training the asked one's is the part's.
    """
    goods = [town.name for town in english().groups[1][0]] if kind == "town" else OBJECTS
    while True:
        names, owned = rng.sample(COMMON, n_people), rng.sample(goods, n_people)
        asked = rng.randrange(n_people)
        parts = [part_of("owner", *pair) for pair in zip(names, owned, strict=True)]
        others = parts[:asked] + parts[asked + 1 :]
        if parts[asked] == part and all(other == "train" for other in others):
            return names, owned, asked


def _sentence(clauses: list[str]) -> str:
    if len(clauses) == 1:
        return f"{clauses[0]}."
    if len(clauses) == 2:
        return f"{clauses[0]} and {clauses[1]}."
    return f"{', '.join(clauses[:-1])} and {clauses[-1]}."


def passage(rng: random.Random, part: Part, world: World | None = None) -> str:
    """Some facts about one entity, in some order; often told entities come often.

    Kept apart by its words: the facts are told in all parts, these sentences in this order in one.
    """
    return draw(lambda: _tell(rng, world or english()), lambda text: ("passage", text), part)


def chinese_passage(rng: random.Random, part: Part) -> str:
    """The same in Chinese."""
    return passage(rng, part, chinese()).replace("。 ", "。")


def _tell(rng: random.Random, world: World) -> str:
    entity, relations = world.entity(rng)
    told = rng.sample(relations, rng.randint(2, len(relations)))
    return " ".join(
        rng.choice(relation.statements)
        .replace("{value}", entity.values[relation.name])
        .replace("{}", entity.name)
        for relation in told
    )
