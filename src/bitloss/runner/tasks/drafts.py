"""What the reference wrote, for texts of variants: drafts of them, and where they part from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bitloss.requests import Generated
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.texts import TextShards
from bitloss.types import ExactTokenizer, IntArray

__all__ = ["PARTING", "ReferenceTexts"]

PARTING = ("same_text", "parts_at")
"""The columns that tell where a variant's text parts from the reference's."""


@dataclass(frozen=True, slots=True)
class ReferenceTexts:
    """The texts of the reference for a task that takes the likeliest token each time.

    Attributes:
        key: their fingerprint.
        texts: by question, those of the reference; empty for one that was not asked.
        tokenizer: the reference's.
    """

    key: str
    texts: Sequence[Sequence[Generated]]
    tokenizer: ExactTokenizer

    @classmethod
    def read(
        cls, store: RunStore, shards: TextShards, tokenizer: ExactTokenizer
    ) -> ReferenceTexts | None:
        """From the run directory; None where texts are drawn, or are not all there.

        Raises:
            StorageError: a file is damaged.
        """
        if not is_greedy(shards.planned) or shards.missing(store):
            return None
        return cls(shards.key, shards.read_generated(store), tokenizer)

    def drafts(self, shards: TextShards) -> TextShards:
        """A variant's requests, each with the reference's text as its draft."""
        pieces = tuple(
            tuple(
                (index, replace(request, draft=self._ids(self.texts[index][0])))
                if self.texts[index]
                else (index, request)
                for index, request in piece
            )
            for piece in shards.requests
        )
        return replace(shards, requests=pieces)

    def parting(self, texts: Sequence[Sequence[Generated]]) -> dict[str, list[float]]:
        """The columns `PARTING`: by question, whether the text is the reference's, 0 or 1, and the
        tokens of the reference's before the first one that differs; not numbers where one of the
        two has none, the second where they are the same.
        """
        rows = [
            self._parts(own[0], reference[0]) if own and reference else (math.nan, math.nan)
            for own, reference in zip(texts, self.texts, strict=True)
        ]
        return {name: [row[at] for row in rows] for at, name in enumerate(PARTING)}

    def _parts(self, own: Generated, reference: Generated) -> tuple[float, float]:
        if _whole(own) == _whole(reference):
            return 1.0, math.nan
        left, right = self._ids(own), self._ids(reference)
        size = min(len(left), len(right))
        differs = np.flatnonzero(left[:size] != right[:size])
        return 0.0, float(differs[0]) if len(differs) else float(size)

    def _ids(self, text: Generated) -> IntArray:
        return self.tokenizer.encode(_whole(text), special=False)


def is_greedy(planned: PlannedTask) -> bool:
    """Whether a task's texts take the likeliest token each time."""
    decoding = planned.task.facts.decoding
    return decoding is not None and decoding.temperature <= 0


def _whole(text: Generated) -> str:
    return text.thinking + text.text
