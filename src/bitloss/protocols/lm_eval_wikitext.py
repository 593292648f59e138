"""The task `wikitext` of lm-evaluation-harness 0.4.13: word and byte perplexity of whole pages.

Source: EleutherAI/lm-evaluation-harness, lm_eval/tasks/wikitext/preprocess_wikitext.py
(detokenizer, counts), lm_eval/models/huggingface.py, `loglikelihood_rolling`, and
lm_eval/utils.py, `get_rolling_token_windows` and `make_disjoint_window`.

Each page is detokenized (also where the corpus is not WikiText) and tokenized as
``tokenizer.encode(page)`` does. A tokenizer that adds BOS therefore puts one before the page, and
the harness scores that token too, after the BOS or, without one, EOS that it uses as prefix. The
first window is the prefix and up to L tokens; each later one scores the next L tokens after one
token of context, the last one its remainder after as much context as makes L. So every token is
scored exactly once. The counts of words and bytes are of the original page, before detokenizing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitloss.errors import CorpusError, UsageError
from bitloss.protocols.windows import Counts, finish_plan, require_at_least, require_tokens
from bitloss.types import Averaging, Corpus, IntArray, TextTokenizer, Window, WindowPlan

__all__ = ["LmEvalWikitext", "detokenize"]


@dataclass(frozen=True, slots=True)
class LmEvalWikitext:
    """Task `wikitext` of lm-evaluation-harness: pages, every token once, word perplexity.

    Attributes:
        max_length: tokens that the model reads at once (L). The harness takes the model's own
            context length, and so does a run when this is None; `plan` needs the number.
    """

    max_length: int | None = None

    name: ClassVar[str] = "lm-eval-wikitext"
    averaging: ClassVar[Averaging] = "tokens"

    def __post_init__(self) -> None:
        if self.max_length is not None:
            require_at_least(self.name, 1, max_length=self.max_length)

    def plan(self, corpus: Corpus, tokenizer: TextTokenizer) -> WindowPlan:
        """See `PerplexityProtocol.plan`."""
        if self.max_length is None:
            raise UsageError(
                f"protocol `{self.name}` needs the model's context length",
                hint="give --max-length",
            )
        prefix = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
        if prefix is None:
            raise CorpusError(
                f"protocol `{self.name}` needs a BOS or EOS token before each page; "
                "the tokenizer has neither",
                hint="choose another protocol, for example --protocol strided",
            )
        windows: list[Window] = []
        n_tokens = 0
        for document, page in enumerate(corpus.documents):
            ids = _encode_page(detokenize(page), tokenizer)
            n_tokens += len(ids)
            windows += _rolling_windows(ids, prefix, self.max_length, document)
        require_tokens(self.name, corpus, 1, n_tokens)
        return finish_plan(
            self,
            windows,
            Counts(
                tokens=n_tokens,
                bytes=sum(len(page.encode()) for page in corpus.documents),
                words=sum(len(re.split(r"\s+", page)) for page in corpus.documents),
            ),
            documents=[window.document for window in windows] if len(corpus.documents) > 1 else (),
        )


def _encode_page(text: str, tokenizer: TextTokenizer) -> IntArray:
    """Ids of a page; one that itself begins with BOS gets no second (`HFLM.tok_encode`)."""
    ids = tokenizer.encode(text, special=True)
    doubled = tokenizer.adds_bos and len(ids) > 1 and ids[0] == ids[1] == tokenizer.bos_id
    return tokenizer.encode(text, special=False) if doubled else ids


def _rolling_windows(ids: IntArray, prefix: int, length: int, document: int) -> list[Window]:
    if len(ids) == 0:
        return []
    head = np.concatenate([np.array([prefix], dtype=ids.dtype), ids[:length]])
    windows = [Window(head, 1, document)]
    for start in range(length, len(ids), length):
        end = min(start + length, len(ids))
        # The model reads `length` tokens, so that a short remainder has more context.
        windows.append(Window(ids[end - length - 1 : end], length + 1 - (end - start), document))
    return windows


# In the harness's order and with its slip: the slashes of the second rule were meant as
# delimiters.
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("s '", "s'"),
        ("/' [0-9]/", "/'[0-9]/"),
        (" @-@ ", "-"),
        (" @,@ ", ","),
        (r" @\.@ ", "."),
        (" : ", ": "),
        (" ; ", "; "),
        (r" \. ", ". "),
        (" ! ", "! "),
        (r" \? ", "? "),
        (" , ", ", "),
        (r"\(\s*([^)]*?)\s*\)", r"(\1)"),
        (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
        (r"\{\s*([^}]*?)\s*\}", r"{\1}"),
        (r'"\s*([^"]*?)\s*"', r'"\1"'),
        (r"'\s*([^']*?)\s*'", r"'\1'"),
        ("= = = =", "===="),
        ("= = =", "==="),
        ("= =", "=="),
        (" ° ", "°"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    )
)


def detokenize(page: str) -> str:
    """Undo WikiText's tokenization as the harness's `wikitext_detokenizer` does."""
    for pattern, replacement in _REWRITES:
        page = pattern.sub(replacement, page)
    return page
