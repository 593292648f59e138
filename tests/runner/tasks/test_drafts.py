"""What the reference wrote, beside what a variant writes. By hand; a token is a character."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.requests import Generated
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.drafts import ReferenceTexts
from bitloss.runner.tasks.texts import TextShards, write_texts
from bitloss.types import IntArray, SilentProgress
from peers.text_tasks import planned_task


class Characters:
    """A tokenizer."""

    def encode(self, text: str, *, special: bool) -> IntArray:
        assert not special
        return np.array([ord(c) for c in text], np.int32)


class Speaker:
    """Writes the index of the prompt."""

    nbytes = 0

    def generate(self, requests: Any) -> Any:
        for index, request in enumerate(requests):
            yield index, Generated(f"text {request.prompt[0]}", 1, "stop", thinking="so ")


def reference(tmp_path: Path, samples: int = 1) -> tuple[RunStore, TextShards]:
    store = RunStore(tmp_path)
    return store, TextShards.of(planned_task(samples=samples), "reference")


def test_requests_of_a_variant_have_the_references_text(tmp_path: Path) -> None:
    store, shards = reference(tmp_path)
    tokenizer: Any = Characters()
    assert ReferenceTexts.read(store, shards, tokenizer) is None  # not written yet
    model: Any = Speaker()
    write_texts(store, shards, label="", model=lambda: model, progress=SilentProgress())
    written = ReferenceTexts.read(store, shards, tokenizer)
    assert written is not None
    own = TextShards.of(shards.planned, "variant")
    drafted = written.drafts(own)
    assert drafted.keys == own.keys
    asked = [one for piece in drafted.requests for one in piece]
    assert [index for index, _ in asked] == [0, 1, 2, 4]  # question 3 does not fit
    for index, request in asked:
        assert request.draft is not None
        assert "".join(map(chr, request.draft)) == f"so text {index}"


def test_texts_that_are_drawn_are_not_held_against_the_references(tmp_path: Path) -> None:
    store, shards = reference(tmp_path, samples=2)
    model: Any = Speaker()
    write_texts(store, shards, label="", model=lambda: model, progress=SilentProgress())
    tokenizer: Any = Characters()
    assert ReferenceTexts.read(store, shards, tokenizer) is None


def test_a_text_parts_at_the_first_token_that_differs() -> None:
    def texts(*found: str) -> list[tuple[Generated, ...]]:
        return [(Generated(text, 1, "eos"),) if text != "-" else () for text in found]

    tokenizer: Any = Characters()
    written = ReferenceTexts("key", texts("abcd", "abcd", "abcd", "", "-"), tokenizer)
    found = written.parting(texts("abcd", "abxd", "abcdef", "x", "-"))
    assert found["same_text"][:4] == [1, 0, 0, 0]
    assert found["parts_at"][1:4] == [2, 4, 0]
    assert math.isnan(found["parts_at"][0])
    assert math.isnan(found["same_text"][4])
