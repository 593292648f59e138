r"""The perplexity that exllamav3 prints for its quantized models.

Source: turboderp-org/exllamav3, eval/ppl.py, `get_test_tokens` and `eval_default`. The rows are
joined by ``"\n\n"`` and tokenized with exllamav3's own defaults: no BOS anywhere, whatever the
tokenizer would add. Windows begin at 0, L, 2L ... below N - L, so that a window which ends
exactly at the end of the text is not taken.
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

__all__ = ["Exllamav3"]


@dataclass(frozen=True, slots=True)
class Exllamav3:
    """Evaluation of exllamav3: the first 100 windows of 2048 tokens, never a BOS.

    Attributes:
        max_length: tokens of a window (the script's ``--length``).
        max_windows: windows taken from the beginning of the text (the script's ``--rows``).
    """

    max_length: int = 2048
    max_windows: int = 100

    name: ClassVar[str] = "exllamav3"
    averaging: ClassVar[Averaging] = "tokens"

    def __post_init__(self) -> None:
        require_at_least(self.name, 2, max_length=self.max_length)
        require_at_least(self.name, 1, max_windows=self.max_windows)

    def plan(self, corpus: Corpus, tokenizer: TextTokenizer) -> WindowPlan:
        """See `PerplexityProtocol.plan`."""
        ids, counts = encode(
            self, corpus, joined_text(corpus), tokenizer,
            at_least=self.max_length + 1, special=False,
        )  # fmt: skip
        available = (len(ids) - 1) // self.max_length
        taken = min(available, self.max_windows)
        return finish_plan(
            self,
            full_windows(ids, self.max_length, taken),
            counts,
            notes=[f"the protocol takes {taken} of the text's {available} windows"]
            if taken < available
            else [],
            documents=documents_of(
                corpus,
                tokenizer,
                len(ids),
                [(index + 0.5) * self.max_length for index in range(taken)],
            ),
        )
