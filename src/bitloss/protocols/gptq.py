r"""The evaluation of the GPTQ paper, which AWQ, SmoothQuant, QuIP and others report too.

Source: IST-DASLab/gptq, llama.py, `llama_eval`, and datautils.py, `get_wikitext2`. The rows are
joined by ``"\n\n"`` and tokenized once as ``tokenizer(text)`` does: a tokenizer that adds BOS puts
one before the whole text, and none before a window. The script multiplies each window's mean
over L - 1 losses by L and divides by the sum of L, which is the mean over tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from bitloss.protocols.windows import (
    encoded_length,
    finish_plan,
    full_windows,
    joined_text,
    require_at_least,
    require_tokens,
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

    def parameters(self) -> dict[str, Any]:
        """See `PerplexityProtocol.parameters`."""
        return asdict(self)

    def plan(
        self, corpus: Corpus, tokenizer: TextTokenizer, *, limit: int | None = None
    ) -> WindowPlan:
        """See `PerplexityProtocol.plan`."""
        text = joined_text(corpus)
        ids = tokenizer.encode(text, special=True)
        require_tokens(self.name, corpus, self.max_length, len(ids))
        windows = full_windows(ids, self.max_length, len(ids) // self.max_length)
        tail = len(ids) % self.max_length
        return finish_plan(
            self,
            windows,
            limit=limit,
            n_tokens=encoded_length(ids, tokenizer),
            n_bytes=len(text.encode()),
            notes=[f"the last {tail} tokens do not fill a window"] if tail else [],
        )
