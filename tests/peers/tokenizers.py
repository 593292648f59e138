"""Tokenizers for tests: one a person can run in the head, and one of transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitloss.types import IntArray

BOS = 1
EOS = 2


@dataclass(frozen=True)
class CharTokenizer:
    """A token a character: its id is the code point. Ids 1 and 2 are BOS and EOS."""

    adds_bos: bool = False
    bos_id: int | None = BOS
    eos_id: int | None = EOS

    def encode(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
        del parse_special  # no text is a special token
        ids = [ord(character) for character in text]
        if special and self.adds_bos:
            ids.insert(0, BOS)
        return np.array(ids, dtype=np.int32)


class TransformersTokenizer:
    """A tokenizer directory, read by transformers."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoTokenizer

        self.peer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        self.bos_id: int | None = self.peer.bos_token_id
        self.eos_id: int | None = self.peer.eos_token_id
        self.adds_bos: bool = self.bos_id is not None and self.peer("a").input_ids[0] == self.bos_id

    def encode(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
        ids = self.peer(
            text,
            add_special_tokens=special,
            split_special_tokens=not parse_special,
            verbose=False,
        ).input_ids
        return np.array(ids, dtype=np.int32)
