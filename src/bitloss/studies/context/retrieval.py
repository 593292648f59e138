"""A retrieval task made for a model: four pass keys hidden in text, and a question for one of them.

The answer is one of the four keys that are in the text, so a model that has the text at hand but
cannot tell them apart scores 25%. Keys lie anywhere in the text, one in each quarter. This is
RULER's multi-key retrieval (Hsieh et al., arXiv 2404.06654) as a choice among options, which needs
no writing and has a low-variance form of the score.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from bitloss.errors import CorpusError
from bitloss.files import make_folder, write_text
from bitloss.types import IntArray

__all__ = ["CHANCE", "KEYS", "context_of", "contexts", "write_retrieval"]

KEYS = 4
"""Pass keys in a text, which are the options."""
CHANCE = 1 / KEYS
ITEMS = 32
"""Of each context length."""

_SHORTEST = 128
_PREFIX = "retrieval-"
_THINGS = (
    "garden", "kitchen", "library", "station", "harbor", "castle", "school", "market", "forest",
    "bridge", "museum", "theater", "office", "factory", "village", "island",
)  # fmt: skip
_QUESTION = "\n\nThe pass key of the {thing} is"


class _Tokenizer(Protocol):
    def encode(self, text: str, *, special: bool) -> IntArray: ...

    def decode(self, ids: Sequence[int]) -> str: ...


def contexts(longest: int) -> list[int]:
    """Lengths that double, up to the context and it itself: ``[128, 256, 512, 1024]``."""
    found = []
    length = _SHORTEST
    while length < longest:
        found.append(length)
        length *= 2
    return [*found, longest]


def context_of(task: str) -> int | None:
    """The length of a task's prompts, by its name; None of any other task."""
    rest = task.removeprefix(_PREFIX)
    return int(rest) if rest != task and rest.isdecimal() else None


def write_retrieval(
    folder: Path, tokenizer: _Tokenizer, text: str, *, longest: int, room: int = 0, seed: int = 0
) -> list[Path]:
    """Task files, one per context length.

    Args:
        folder: where they go; it is made.
        tokenizer: of the model, which measures prompts.
        text: that keys are hidden in; repeated where it is shorter than a context.
        longest: the longest prompt with its answer, tokens.
        room: tokens of a prompt that something else takes, such as a chat template.
        seed: same seed, same questions.

    Raises:
        CorpusError: the text is empty.
        StorageError: the files cannot be written.
    """
    ids = tokenizer.encode(text, special=False)
    if not len(ids):
        raise CorpusError(
            "expected text to hide pass keys in, got none", hint="choose another --corpus"
        )
    ids = np.tile(ids, -(-2 * longest // len(ids)))
    make_folder(folder)
    paths = []
    for length in contexts(longest):
        generator = np.random.default_rng((seed, length))
        rows = [
            _row(tokenizer, ids, length - room, index % KEYS, generator) for index in range(ITEMS)
        ]
        data = folder / f"{_PREFIX}{length}.jsonl"
        write_text(data, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        path = folder / f"{_PREFIX}{length}.yaml"
        write_text(path, _definition(length, data.name))
        paths.append(path)
    return paths


def _definition(length: int, data: str) -> str:
    return (
        f"name: {_PREFIX}{length}\n"
        "capability: text completion\n"
        f"description: ''\n"
        f"data: {data}\n"
        f"prompt: {json.dumps('{text}' + _QUESTION)}\n"
        "choice: {options: '{options}', gold: answer, gold_as: text}\n"
    )


def _row(
    tokenizer: _Tokenizer,
    ids: IntArray,
    length: int,
    asked: int,
    generator: np.random.Generator,
) -> dict[str, object]:
    """A question that fits: shortened by as much as it turns out too long."""
    things = generator.choice(_THINGS, KEYS, replace=False).tolist()
    keys = [str(key) for key in generator.choice(np.arange(1000, 10_000), KEYS, replace=False)]
    start = int(generator.integers(0, len(ids) // 2))
    places = [float(at) for at in generator.uniform(0.1, 0.9, KEYS)]
    question = _QUESTION.format(thing=things[asked])
    pairs = zip(things, keys, strict=True)
    told = [f"The pass key of the {thing} is {key}." for thing, key in pairs]
    room = length - _count(tokenizer, " ".join(told) + question)
    while True:
        text = _hidden(tokenizer, ids[start : start + max(room, 0)], told, places)
        over = _count(tokenizer, f"{text}{question} {keys[asked]}") + 1 - length
        if over <= 0 or room <= 0:
            break
        room -= over
    return {
        "text": text,
        "thing": things[asked],
        "options": keys,
        "answer": keys[asked],
        "depth": round((asked + places[asked]) / KEYS, 3),
    }


def _hidden(
    tokenizer: _Tokenizer, ids: IntArray, told: Sequence[str], places: Sequence[float]
) -> str:
    """The text with a sentence in each of its parts."""
    edges = [round(len(ids) * (index + at) / len(told)) for index, at in enumerate(places)]
    parts = [
        tokenizer.decode(ids[start:end].tolist()).strip("\ufffd \n")
        for start, end in zip([0, *edges], [*edges, len(ids)], strict=True)
    ]
    pieces = [parts[0]]
    for sentence, part in zip(told, parts[1:], strict=True):
        pieces += [sentence, part]
    return "\n".join(piece for piece in pieces if piece)


def _count(tokenizer: _Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, special=True))
