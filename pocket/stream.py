"""Batches of tokens for training: documents of all kinds in a row, without padding.

A batch depends on the seed and its number only, so training goes on from a checkpoint as if it had
never stopped.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pocket.examples import generator
from pocket.kinds import PROSE, RECALL, STAGES, Piece, document, prose_text
from pocket.recall import recall
from pocket.tokenizer import BOS, EOS

__all__ = ["Batch", "batch", "encode_pieces"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of tokens.

    Attributes:
        ids: shape ``[rows, length + 1]``: the inputs and, one further, the targets.
        weights: of the targets in the loss, shape ``[rows, length]``.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]


def batch(tokenizer: Tokenizer, seed: int, number: int, rows: int, length: int) -> Batch:
    """The batch of that number."""
    ids: list[int] = []
    weights: list[float] = []
    documents = _documents(seed, number)
    while len(ids) < rows * (length + 1):
        more, counted = encode_pieces(tokenizer, next(documents))
        ids += more
        weights += counted
    size = rows * (length + 1)
    shape = (rows, length + 1)
    return Batch(
        np.array(ids[:size], np.int64).reshape(shape),
        np.array(weights[:size], np.float32).reshape(shape)[:, 1:],
    )


def _documents(seed: int, number: int) -> Iterator[list[Piece]]:
    """Documents of all kinds, so that each kind has its share of the characters."""
    rng = generator("stream", seed, number)
    shares = [shares for first, shares in STAGES if number >= first][-1]
    # Kinds differ in length: the one that is the furthest behind its share comes next.
    written = {name: rng.random() * 400 * share for name, share in shares.items()}
    while True:
        name = min(shares, key=lambda one: written[one] / shares[one])
        pieces = _pieces(name, rng)
        # A Chinese character is as long as a word.
        written[name] += sum(len(text.encode()) for text, _ in pieces)
        yield pieces


def _pieces(name: str, rng: random.Random) -> list[Piece]:
    if name == PROSE:
        return prose_text(rng, "train")
    return recall(rng) if name == RECALL else document(name, rng, "train")


def encode_pieces(tokenizer: Tokenizer, pieces: list[Piece]) -> tuple[list[int], list[float]]:
    """A document's ids between BOS and EOS, and each token's weight as a target.

    It is encoded as a whole, as a prompt is, and a token has the weight of the piece that its
    first character belongs to.
    """
    encoding = tokenizer.encode("".join(text for text, _ in pieces), add_special_tokens=False)
    weights: list[float] = []
    ends = np.cumsum([len(text) for text, _ in pieces])
    starts = np.array([start for start, _ in encoding.offsets])
    owners = np.searchsorted(ends, starts, side="right")
    weights = [pieces[owner][1] for owner in owners]
    return [BOS, *encoding.ids, EOS], [0.0, *weights, 0.1]
