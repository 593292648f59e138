"""The perplexity that llama.cpp's `llama-perplexity` prints.

Source: ggml-org/llama.cpp, tools/perplexity/perplexity.cpp, `perplexity`, and common/arg.cpp
(option ``-f``). The text is the raw file less one trailing newline, tokenized once with special
tokens added (BOS before the text where the tokenizer adds it). What looks like a special token is
text: `common_tokenize` is called without ``parse_special``. The ids are cut into chunks of n_ctx
tokens, the tail dropped. Where the tokenizer adds BOS, it replaces the first token of every chunk.
The logits at positions n_ctx/2 ... n_ctx-2 are scored, that is the tokens n_ctx/2+1 ... n_ctx-1:
255 of 512. The program refuses a text of less than two chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitloss.protocols.windows import documents_of, encode, finish_plan, require_at_least
from bitloss.types import Averaging, Corpus, TextTokenizer, Window, WindowPlan

__all__ = ["LlamaCpp"]


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """Evaluation of llama-perplexity: chunks of 512 tokens, the second half of each scored.

    Its ± is `bitloss.metrics.perplexity.llama_cpp_error`.

    Attributes:
        max_length: tokens of a chunk (the program's ``--ctx-size``).
    """

    max_length: int = 512

    name: ClassVar[str] = "llama.cpp"
    averaging: ClassVar[Averaging] = "tokens"

    def __post_init__(self) -> None:
        # With fewer than 3 tokens, no target lies in the second half.
        require_at_least(self.name, 3, max_length=self.max_length)

    def plan(self, corpus: Corpus, tokenizer: TextTokenizer) -> WindowPlan:
        """See `PerplexityProtocol.plan`."""
        ids, counts = encode(
            self, corpus, corpus.raw.removesuffix("\n"), tokenizer,
            at_least=2 * self.max_length, parse_special=False,
        )  # fmt: skip
        count, tail = divmod(len(ids), self.max_length)
        chunks = np.array(ids[: count * self.max_length]).reshape(count, self.max_length)
        if tokenizer.adds_bos and tokenizer.bos_id is not None:
            chunks[:, 0] = tokenizer.bos_id
        return finish_plan(
            self,
            [Window(chunk, self.max_length // 2 + 1) for chunk in chunks],
            counts,
            notes=[f"the last {tail} tokens do not fill a chunk"] if tail else [],
            documents=documents_of(
                corpus,
                tokenizer,
                len(ids),
                [(index + 0.75) * self.max_length for index in range(count)],
            ),
        )
