"""`decoding_of`: the harness's ``generation_kwargs`` as bitloss decodes.

As ``normalize_gen_kwargs`` of lm-eval 0.4.13 (``models/utils.py``) reads them. What would change a
text and cannot be done here is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitloss.errors import UsageError
from bitloss.requests import Decoding

__all__ = ["decoding_of"]

DEFAULT_TOKENS = 256
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
# Without sampling these decide nothing.
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
# Values with which a setting does nothing.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "top_k": (0, -1), "min_p": (0, 0.0), "typical_p": (1, 1.0), "num_beams": (1,),
    "repetition_penalty": (1, 1.0), "no_repeat_ngram_size": (0,), "length_penalty": (1, 1.0),
    "num_return_sequences": (1,), "use_cache": (True, False), "return_dict_in_generate": (False,),
}  # fmt: skip


def decoding_of(name: str, settings: Mapping[str, Any]) -> Decoding:
    """How a task's texts are generated.

    Args:
        name: of the task, for errors.
        settings: its ``generation_kwargs``.

    Raises:
        UsageError: a setting that bitloss does not have, or a value that means nothing.
    """
    rest = {key: value for key, value in settings.items() if value is not None}
    lengths = [rest.pop(key) for key in _LENGTHS if key in rest]
    until = rest.pop("until", [])
    stop = [until] if isinstance(until, str) else list(until)
    try:
        most = int(lengths[0]) if lengths else DEFAULT_TOKENS
        temperature = float(rest.get("temperature", 0.0))
        top_p = float(rest.get("top_p", 1.0))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"task `lm-eval:{name}`: expected numbers in `generation_kwargs`, got {error}",
            hint="correct the task file",
        ) from error
    if not all(isinstance(text, str) for text in stop):
        raise UsageError(
            f"task `lm-eval:{name}`: expected texts to stop at in `until`, got {stop!r}",
            hint="correct the task file",
        )
    samples = bool(rest.pop("do_sample", temperature > 0)) and temperature > 0
    known = _SAMPLING if not samples else ("temperature", "top_p")
    unknown = sorted(
        key
        for key, value in rest.items()
        if key not in known and value not in _NEUTRAL.get(key, ())
    )
    if unknown:
        raise UsageError(
            f"task `lm-eval:{name}` generates with `{unknown[0]}: {rest[unknown[0]]}`, which "
            "bitloss does not have",
            hint="copy the task, without this setting, to a folder of yours: --include-path DIR",
        )
    return Decoding(
        max_new_tokens=most,
        stop=tuple(text for text in stop if text),
        temperature=temperature if samples else 0.0,
        top_p=top_p if samples else 1.0,
    )
