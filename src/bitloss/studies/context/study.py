"""How far into its context a quantized model holds up: loss by position in long windows, and keys
found in long texts.
"""

from __future__ import annotations

from typing import Any

from bitloss import api
from bitloss.datasets import load_corpus
from bitloss.errors import UsageError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import context_length
from bitloss.formats.location.locate import locate
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.spec.model import parse_model
from bitloss.studies.base import Prepared, Subject
from bitloss.studies.context.holding import conclude
from bitloss.studies.context.retrieval import write_retrieval
from bitloss.studies.sweep import recipe_sweep

__all__ = ["CONTEXT"]

_LEAST = 128
"""Tokens of a context that is worth dividing."""
_FORWARD = 2048


_TEMPLATE = 64
"""Tokens of a context that a chat template may take."""


def _prepare(subject: Subject) -> Prepared:
    """Windows as long as the model's context, none of which overlap: every position is scored; and
    retrieval from texts up to that length.
    """
    path = locate(parse_model(subject.model), progress=subject.progress)
    known = context_length(open_checkpoint(path).config)
    length = subject.options.get("max_length") or known
    if length is None or int(length) < _LEAST:
        raise UsageError(
            f"expected a context of {_LEAST} tokens or more, got {length}",
            hint="use --max-length N",
        )
    length = int(length)
    options = {**subject.options, "max_length": length, "stride": length}
    given = options.get("batch_tokens")
    if given is not None or length > _FORWARD:  # a forward holds one window at least
        options["batch_tokens"] = max(int(given or 0), length)
    corpora, tasks = _asked(subject)
    found = write_retrieval(
        subject.folder / "retrieval",
        load_tokenizer(path),
        load_corpus(corpora[0], data=options.get("data")).raw,
        longest=length,
        room=_TEMPLATE if options.get("chat") else 0,
        seed=int(options.get("seed", 0)),
    )
    options |= {"corpora": corpora, "tasks": [*tasks, *map(str, found)]}
    return Prepared(subject.levels, options)


def _asked(subject: Subject) -> tuple[list[Any], list[Any]]:
    """Corpora and tasks that a run without the retrieval tasks would have; a text in any case."""
    named = {
        key: value
        for key, value in subject.options.items()
        if key in ("suite", "corpora", "tasks", "include_path", "data")
    }
    spec = api.make_spec(subject.model, (), **named)
    return list(spec.corpora or ("wikitext-2",)), list(spec.tasks)


CONTEXT = recipe_sweep(
    name="context",
    factor="bits per weight in long windows",
    question="Up to which position does the quantized model hold up?",
    values=("gptq-4", "gguf-q4_k_m", "gguf-q2_k"),
    columns=("bits_per_weight", "relative_perplexity", "kl_divergence"),
    series=str,  # levels are no steps of each other
    prepare=_prepare,
    conclude=conclude,
)
