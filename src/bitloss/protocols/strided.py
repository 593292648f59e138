r"""The sliding window of the transformers perplexity guide, with and without its weighting slip.

Source: huggingface/transformers, docs/source/en/perplexity.md. The rows are joined by ``"\n\n"``
and tokenized once as ``tokenizer(text)`` does, so a tokenizer that adds BOS puts one before the
whole text and none before a window. Windows begin at 0, S, 2S ... and hold L tokens; the first
that reaches the end of the text is the last, and is ragged. A window scores the tokens that no
window before it reached; its first token has no context and is not scored (so with S = L, one
token of each window is lost). A last window of a single token is left out: the guide averages
over nothing there and gets NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitloss.protocols.windows import (
    documents_of,
    encode,
    finish_plan,
    joined_text,
    require_stride,
)
from bitloss.types import Averaging, Corpus, IntArray, TextTokenizer, Window, WindowPlan

__all__ = ["Strided", "StridedAsPublished"]


@dataclass(frozen=True, slots=True)
class Strided:
    """Sliding window of the transformers guide, every scored token weighing the same.

    Attributes:
        max_length: tokens of a window (L).
        stride: tokens between the windows' beginnings (S).
    """

    max_length: int = 1024
    stride: int = 512

    name: ClassVar[str] = "strided"
    averaging: ClassVar[Averaging] = "tokens"

    def __post_init__(self) -> None:
        require_stride(self.name, self.max_length, self.stride)

    def plan(self, corpus: Corpus, tokenizer: TextTokenizer) -> WindowPlan:
        """See `PerplexityProtocol.plan`."""
        return _sliding_plan(self, corpus, tokenizer, keep_valid=False)


@dataclass(frozen=True, slots=True)
class StridedAsPublished:
    """Sliding window of the transformers guide with the guide's own weights (valid - 1).

    The guide multiplies each window's mean loss by its count of labels less one. That is right
    for the first window, whose first label has no prediction, and one too few for the others.

    Attributes:
        max_length: tokens of a window (L).
        stride: tokens between the windows' beginnings (S).
    """

    max_length: int = 1024
    stride: int = 512

    name: ClassVar[str] = "strided-as-published"
    averaging: ClassVar[Averaging] = "windows-by-valid-minus-one"

    def __post_init__(self) -> None:
        require_stride(self.name, self.max_length, self.stride)

    def plan(self, corpus: Corpus, tokenizer: TextTokenizer) -> WindowPlan:
        """See `PerplexityProtocol.plan`."""
        return _sliding_plan(self, corpus, tokenizer, keep_valid=True)


def _sliding_plan(
    protocol: Strided | StridedAsPublished,
    corpus: Corpus,
    tokenizer: TextTokenizer,
    *,
    keep_valid: bool,
) -> WindowPlan:
    ids, counts = encode(protocol, corpus, joined_text(corpus), tokenizer, at_least=2)
    windows, valid = _sliding_windows(ids, protocol.max_length, protocol.stride)
    # Every token but the first is scored once, or nearly: those before a window, and half its own.
    ends = np.cumsum([window.n_scored for window in windows])
    middles = [float(end) - window.n_scored / 2 for end, window in zip(ends, windows, strict=True)]
    return finish_plan(
        protocol,
        windows,
        counts,
        valid=valid if keep_valid else (),
        documents=documents_of(corpus, tokenizer, int(ends[-1]) if windows else 0, middles),
    )


def _sliding_windows(ids: IntArray, length: int, stride: int) -> tuple[list[Window], list[int]]:
    """Windows and, for each, the labels that the guide leaves unmasked (its ``trg_len``)."""
    windows: list[Window] = []
    valid: list[int] = []
    reached = 0
    for begin in range(0, len(ids), stride):
        end = min(begin + length, len(ids))
        if end - begin > 1:
            windows.append(Window(ids[begin:end], max(1, reached - begin)))
            valid.append(end - reached)
        reached = end
        if end == len(ids):
            break
    return windows, valid
