"""How far into its context a quantized model holds up: loss by position in long windows."""

from __future__ import annotations

from bitloss.errors import UsageError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import context_length
from bitloss.formats.location.locate import locate
from bitloss.spec.model import parse_model
from bitloss.studies.base import Prepared, Subject
from bitloss.studies.context.positions import conclude
from bitloss.studies.sweep import recipe_sweep

__all__ = ["CONTEXT"]

_LEAST = 128
"""Tokens of a context that is worth dividing."""
_FORWARD = 2048


def _whole_windows(subject: Subject) -> Prepared:
    """Windows as long as the model's context, none of which overlap: every position is scored."""
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
    return Prepared(subject.levels, options)


CONTEXT = recipe_sweep(
    name="context",
    factor="bits per weight in long windows",
    question="Up to which position does the quantized model hold up?",
    values=("gptq-4", "gguf-q4_k_m", "gguf-q2_k"),
    columns=("bits_per_weight", "relative_perplexity", "kl_divergence"),
    series=str,  # levels are no steps of each other
    prepare=_whole_windows,
    conclude=conclude,
)
