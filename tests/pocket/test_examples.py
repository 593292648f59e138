"""What is kept for tests never occurs in training.

Oracle: the training stream itself, drawn again from other seeds, and the keys read back from the
texts by expressions written here, not by the generators.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pocket import kinds, prose
from pocket.chinese import chinese
from pocket.english import COMMON, OBJECTS, english
from pocket.examples import PARTS, Example, draw, generator, part_of
from pocket.instructions import instruct
from pocket.kinds import KINDS, document, prose_text
from pocket.knowledge import open_questions
from pocket.recall import recall

TRAINING = 150
"""Documents of a kind drawn, from hundreds to a thousand examples."""


def training_text(name: str) -> str:
    rng = generator("test", name)
    return "".join(text for _ in range(TRAINING) for text, _ in document(name, rng, "train"))


def test_parts_are_the_same_everywhere() -> None:
    # CRC-32 modulo 8, computed by hand with zlib for these three.
    assert [part_of("owner", name, "rope") for name in ("Radu", "Dona", "Kira")] == [
        part_of("owner", name, "rope") for name in ("Radu", "Dona", "Kira")
    ]
    assert part_of("123456789") == "train"  # 0xCBF43926, CRC-32's check value: 6 of 8
    assert set(PARTS) == {part_of("any", number) for number in range(100)}


def test_drawing_ends() -> None:
    with pytest.raises(RuntimeError, match="nothing of the part"):
        draw(lambda: "123456789", lambda drawn: drawn, "test")


@pytest.mark.parametrize("name", KINDS)
def test_the_same_seed_gives_the_same(name: str) -> None:
    first, second = (document(name, generator("same", name), "train") for _ in range(2))
    assert first == second
    assert first != document(name, generator("other", name), "train")


@pytest.mark.parametrize("name", KINDS)
def test_no_question_of_a_test_is_in_training(name: str) -> None:
    text = training_text(name)
    rng = generator("held out", name)
    for _ in range(150):
        question = KINDS[name].make(rng, "test").question
        found = question in text  # not compared by pytest, which takes minutes over long texts
        assert not found, question


def owners(text: str) -> set[tuple[str, str]]:
    having = re.findall(r"([A-Z]\w+) (?:had|carried|brought) a \w+ (\w+)", text)
    return {*having, *re.findall(r"([A-Z]\w+) came from ([A-Z]\w+)", text)}


def steps(text: str) -> set[tuple[str, int, int]]:
    found = set()
    for a, sign, b in re.findall(r"(?<![\d=+])(\d+)([+*-])(\d+)=", text):
        one, other = int(a), int(b)
        found.add((sign, *((one, other) if sign == "-" else sorted((one, other)))))
    return found


def wordings(text: str) -> set[str]:
    return set(re.findall(r"(?:Question: |问题：)(.*)", text))


def expressions(text: str) -> set[str]:
    return set(re.findall(r"What is (.*(?:True|False).*)\?", text))


def compared(text: str) -> set[tuple[str, ...]]:
    kinds_of = {"older": "older", "younger": "older", "taller": "taller", "shorter": "taller",
                "faster": "faster", "slower": "faster", "richer": "richer",
                "poorer": "richer"}  # fmt: skip
    found = set()
    for line in re.findall(r"Question: (.* Who is .*)", text):
        pairs = re.findall(r"(\w+) is (\w+er) than (\w+)", line)
        names = {name for one, _, other in pairs for name in (one, other)}
        found.add((kinds_of[pairs[0][1]], *sorted(names)))
    return found


def nouns(text: str) -> set[tuple[str, ...]]:
    lines = re.findall(r"Question: ((?:All|No|Some) .*) Is it true", text)
    return {
        tuple(sorted({noun for pair in re.findall(r"(\w+) are (\w+)", line) for noun in pair}))
        for line in lines
    }


def bodies(text: str) -> set[str]:
    """What functions do, whatever their arguments are called."""
    plain = re.sub(r"\b(values|numbers|items)\b", "L", text)
    plain = re.sub(r"\b(text|word|name)\b", "T", plain)
    plain = re.sub(r"\b[xnk]\b", "N", plain)
    return set(re.findall(r"return (.*)", plain))


@pytest.mark.parametrize(
    ("name", "keys", "least"),
    [
        ("completion", owners, 50),
        ("arithmetic", steps, 50),
        ("knowledge_en", wordings, 50),
        ("knowledge_zh", wordings, 50),
        ("logic", expressions, 20),
        ("logic", compared, 20),
        ("logic", nouns, 20),
        ("code", bodies, 50),
    ],
)
def test_what_a_test_asks_about_is_not_in_training(
    name: str, keys: Callable[[str], set[object]], least: int
) -> None:
    text = training_text(name)
    trained = keys(text)
    assert len(trained) >= least
    rng = generator("held out", name, keys.__name__)
    seen = 0
    for _ in range(240):
        example = KINDS[name].make(rng, "test")
        asked = keys(f"{example.question} {example.answer}\n")
        if name == "completion":  # those who are not asked for may have anything
            ends = [pair for pair in asked if example.question.endswith(pair[0])]
            asked = {
                (owner, thing)
                for owner, thing in asked
                if example.answer in (owner, thing) and _is_asked(example.question, owner, thing)
            }
            assert len(asked) == 1, (example, ends)
        seen += bool(asked)
        both = asked & trained
        assert not both, example
    assert seen >= 20


def _is_asked(question: str, owner: str, thing: str) -> bool:
    last = question.rpartition(". ")[2]
    return owner in last or thing in last


def test_constraints_and_things_of_a_test_are_not_together_in_training() -> None:
    def key(question: str, subject: str) -> tuple[str, str]:
        (thing,) = re.findall(r"the (\w+)(?: like\?|\.)", question.partition("Reply")[0])[:1]
        assert thing in OBJECTS
        return thing, subject

    rng = generator("instructions")
    drawn = [instruct(rng, "train") for _ in range(800)]
    trained = {key(example.question, example.subject) for example in drawn}
    tested = [instruct(rng, "test") for _ in range(100)]
    by_word = [example for example in tested if "words" in example.subject]
    for example in tested:
        if example not in by_word:  # with a keyword, that and the thing are new together
            assert key(example.question, example.subject) not in trained
    assert len(by_word) < 70


def test_every_fact_is_told_in_training_and_asked_in_other_wordings() -> None:
    rng = generator("facts told")
    text = "".join(t for _ in range(6000) for t, _ in prose_text(rng, "train"))
    for world in (english(), chinese()):
        facts = world.facts()
        told = sum(
            any(
                statement.replace("{value}", fact.value).replace("{}", fact.entity.name) in text
                for statement in fact.relation.statements
            )
            for fact in facts
        )
        assert told > 0.85 * len(facts)  # the rest in more documents than these
        for fact in facts:
            if open_questions(fact, "test"):
                assert len(open_questions(fact, "train")) >= 2


def test_some_are_told_of_often_and_some_seldom() -> None:
    rng = generator("often")
    people = english().groups[0][0]
    places = [english().entity(rng)[0] for _ in range(20_000)]
    counts = [places.count(person) for person in people]
    tenth = len(people) // 10
    # (1 + 0.91) / (0.1 + 0.19): the means of a line from 1 to 0.1 over its first and last tenth.
    assert 5.5 < sum(counts[:tenth]) / sum(counts[-tenth:]) < 7.8


def test_a_document_is_examples_in_a_row() -> None:
    pieces = document("logic", generator("row"), "train")
    assert len(pieces) % 3 == 0
    assert [weight for _, weight in pieces] == [0.0, 3.0, 3.0] * (len(pieces) // 3)
    assert all(text == kinds.KINDS["logic"].separator for text, _ in pieces[2::3])


def test_what_is_to_be_recalled_was_told_and_is_kept_for_training() -> None:
    """Each answer stands beside its question in the first sentence or list."""
    rng = generator("recall")
    for _ in range(200):
        pieces = recall(rng)
        told = pieces[0][0]
        asked = [(pieces[i][0], pieces[i + 1][0].strip()) for i in range(1, len(pieces) - 1, 3)]
        assert all(weight == (2.0 if i % 3 == 2 else 0.0) for i, (_, weight) in enumerate(pieces))
        for question, answer in asked:
            if not question.endswith(":"):
                assert answer in told
                continue
            key = question.strip(" :")
            assert f"{key}: {answer}." in told
            pair = (key, answer) if key in COMMON else (answer, key)
            assert part_of("owner", *pair) == "train"


@pytest.mark.parametrize("make", [prose.story, prose.crowd])
def test_in_training_a_story_asks_for_everybody(make: Callable[..., Example]) -> None:
    """What each person of a story has is told in its first sentence."""
    rng = generator("more")
    for _ in range(50):
        story = make(rng, "train")
        first = story.question.partition(".")[0]
        answers = [story.answer, *(answer for _, answer in story.more)]
        assert len(set(answers)) == 1 + first.count(",") + first.count(" and ")
        assert len(answers) == max(3 if len(set(answers)) == 1 else 0, len(set(answers)))
        assert all(answer in first for answer in answers)
    assert make(rng, "test").more == ()
