"""All kinds of questions, and how documents for training are made of them.

A test shows some solved examples before its question; a document for training is a longer row of
solved examples in the same form.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pocket import arithmetic, instructions, knowledge, logic, programs, prose
from pocket.chinese import chinese
from pocket.english import english
from pocket.examples import Example, Part

__all__ = ["CROWD", "KINDS", "PROSE", "RECALL", "STAGES", "Kind", "Piece", "document", "prose_text"]

Piece = tuple[str, float]
"""A text, and how much its tokens count in the training's loss."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of questions.

    Attributes:
        make: draws one of a part.
        description: stands before all.
        delimiter: between a question and its answer.
        separator: behind an answer.
        per_document: solved examples in a document, from and to.
        prompt_weight: of a question's tokens in the loss.
        answer_weight: of an answer's; the more, the shorter answers are beside their questions.
    """

    make: Callable[[random.Random, Part], Example]
    description: str = ""
    delimiter: str = " "
    separator: str = "\n\n"
    per_document: tuple[int, int] = (5, 9)
    prompt_weight: float = 0.1
    answer_weight: float = 1.0


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "completion": Kind(prose.story, separator=".\n\n", per_document=(2, 5), answer_weight=4.0),
        "knowledge_en": Kind(knowledge.ask_english, english().description, per_document=(6, 12)),
        "knowledge_zh": Kind(
            knowledge.ask_chinese, chinese().description, delimiter="", per_document=(6, 12)
        ),
        "instructions": Kind(instructions.instruct, per_document=(2, 4), prompt_weight=0.0),
        "arithmetic": Kind(arithmetic.work_out, per_document=(4, 8), prompt_weight=0.0),
        "code": Kind(programs.program, delimiter="", per_document=(2, 6)),
        "logic": Kind(logic.reason, per_document=(5, 9), prompt_weight=0.0, answer_weight=3.0),
    }
)
CROWD, PROSE, RECALL = "crowd", "prose", "recall"
_CROWD = Kind(prose.crowd, separator=".\n\n", per_document=(2, 5), answer_weight=4.0)
STAGES: tuple[tuple[int, Mapping[str, float]], ...] = (
    # Facts take the longest: the more of them, the sooner.
    (0, {CROWD: 1.5, "knowledge_en": 1.4, "knowledge_zh": 1.2, "instructions": 1.0,
         "arithmetic": 1.5, "code": 1.0, "logic": 1.2, PROSE: 0.8}),
    # Looking back is not learnt beside them, and has texts of its own.
    (2200, {CROWD: 1.5, "knowledge_en": 1.4, "knowledge_zh": 1.2, "instructions": 1.0,
            "arithmetic": 1.5, "code": 1.0, "logic": 1.2, PROSE: 0.8, RECALL: 2.0}),
    # With the lower learning rate it comes; the facts that are often told are known by then.
    (3360, {CROWD: 2.5, "knowledge_en": 0.6, "knowledge_zh": 0.5, "instructions": 1.4,
            "arithmetic": 1.5, "code": 1.0, "logic": 1.6, PROSE: 0.4, RECALL: 2.0}),
    # Whose word it is, is still a guess among those told of: stories of few people.
    (4800, {"completion": 3.0, "knowledge_en": 0.6, "knowledge_zh": 0.5, "instructions": 2.0,
            "arithmetic": 1.8, "code": 0.8, "logic": 1.6, PROSE: 0.4, RECALL: 1.0}),
)  # fmt: skip
"""From which batch on which share of the characters each kind has."""


def document(name: str, rng: random.Random, part: Part) -> list[Piece]:
    """Solved examples in a row."""
    kind = _CROWD if name == CROWD else KINDS[name]
    pieces: list[Piece] = [(kind.description, 0.0)] if kind.description else []
    for _ in range(rng.randint(*kind.per_document)):
        example = kind.make(rng, part)
        for question, answer in ((example.question, example.answer), *example.more):
            pieces.append((question, kind.prompt_weight))
            pieces.append((kind.delimiter + answer, kind.answer_weight))
        # The end of the answer is to be learnt too: its first separator token.
        pieces.append((kind.separator, kind.answer_weight))
    return pieces


def prose_text(rng: random.Random, part: Part) -> list[Piece]:
    """Passages of facts in one of the two languages."""
    make = prose.chinese_passage if rng.random() < 0.35 else prose.passage
    return [(make(rng, part) + "\n\n", 1.0) for _ in range(rng.randint(2, 6))]
