r"""The naive loop that many tutorials print: the mean of the windows' mean losses.

Source: the transformers guide's loop (docs/source/en/perplexity.md) with ``labels=input_ids`` and
``exp(mean(losses))``, as found in many tutorials and scripts. The text is the rows joined by
``"\n\n"``, tokenized once as ``tokenizer(text)`` does (one BOS before the text where the tokenizer
adds it). Like the guide's, the loop stops at the first window that reaches the end of the text;
that window is ragged and weighs as much as a full one. Tokens where windows overlap are scored
in each of them. A window of a single token has no loss and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitloss.protocols.windows import (
    documents_of,
    encode,
    finish_plan,
    joined_text,
    require_stride,
)
from bitloss.types import Averaging, Corpus, TextTokenizer, Window, WindowPlan

__all__ = ["WindowMean"]


@dataclass(frozen=True, slots=True)
class WindowMean:
    """Naive loop of many tutorials: unweighted mean over windows, overlaps scored again.

    Attributes:
        max_length: tokens of a window (L).
        stride: tokens between the windows' beginnings (S).
    """

    max_length: int = 1024
    stride: int = 512

    name: ClassVar[str] = "window-mean"
    averaging: ClassVar[Averaging] = "windows"

    def __post_init__(self) -> None:
        require_stride(self.name, self.max_length, self.stride)

    def plan(self, corpus: Corpus, tokenizer: TextTokenizer) -> WindowPlan:
        """See `PerplexityProtocol.plan`."""
        ids, counts = encode(self, corpus, joined_text(corpus), tokenizer, at_least=2)
        windows, middles = [], []
        for begin in range(0, len(ids) - 1, self.stride):
            windows.append(Window(ids[begin : begin + self.max_length], 1))
            middles.append(begin + len(windows[-1].ids) / 2)
            if begin + self.max_length >= len(ids):
                break
        documents = documents_of(corpus, tokenizer, len(ids), middles)
        return finish_plan(self, windows, counts, documents=documents)
