r"""The evaluation of the GPTQ paper, which AWQ, SmoothQuant, QuIP and others report too.

Source: IST-DASLab/gptq, llama.py, `llama_eval`, and datautils.py, `get_wikitext2`. The rows are
joined by ``"\n\n"`` and tokenized once as ``tokenizer(text)`` does: a tokenizer that adds BOS puts
one before the whole text, and none before a window. The script multiplies each window's mean
over L - 1 losses by L and divides by the sum of L, which is the mean over tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitloss.protocols.windows import (
    documents_of,
    encode,
    finish_plan,
    full_windows,
    joined_text,
    require_at_least,
)
from bitloss.types import Averaging, Corpus, TextTokenizer, WindowPlan

__all__ = ["Gptq"]


@dataclass(frozen=True, slots=True)
class Gptq:
    """Evaluation of the GPTQ paper: full windows side by side, the tail dropped.

    Attributes:
        max_length: tokens of a window (the script's ``seqlen``).
    """

    max_length: int = 2048

    name: ClassVar[str] = "gptq"
    averaging: ClassVar[Averaging] = "tokens"

    def __post_init__(self) -> None:
        require_at_least(self.name, 2, max_length=self.max_length)

    def plan(self, corpus: Corpus, tokenizer: TextTokenizer) -> WindowPlan:
        """See `PerplexityProtocol.plan`."""
        ids, counts = encode(self, corpus, joined_text(corpus), tokenizer, at_least=self.max_length)
        windows = full_windows(ids, self.max_length, len(ids) // self.max_length)
        tail = len(ids) % self.max_length
        return finish_plan(
            self,
            windows,
            counts,
            notes=[f"the last {tail} tokens do not fill a window"] if tail else [],
            documents=documents_of(
                corpus,
                tokenizer,
                len(ids),
                [(index + 0.5) * self.max_length for index in range(len(windows))],
            ),
        )
