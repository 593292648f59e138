"""Rotary tables that depend on how long a forward is.

With `dynamic` rotary embeddings the table follows the longest sequence that a model has seen, and
with `longrope` the longest one of a forward. What a window is given would depend on its company.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

__all__ = ["depends_on_length", "forget_lengths"]

_BY_LENGTH = ("dynamic", "longrope")


def depends_on_length(config: Any) -> bool:
    """Whether a model's rotary table depends on the sequences that a forward holds."""
    return any(kind in name for name in _types(config) for kind in _BY_LENGTH)


def forget_lengths(body: nn.Module) -> None:
    """Undo what earlier, longer forwards did to `dynamic` tables.

    transformers shrinks such a table again only for a sequence within the original context
    (``modeling_rope_utils.dynamic_rope_update``), so the order of windows would change numbers.
    """
    if not depends_on_length(getattr(body, "config", None)):
        return
    for module in body.modules():
        original = getattr(module, "original_max_seq_len", None)
        if original is None:
            continue
        for name, _ in list(module.named_buffers(recurse=False)):
            kept = getattr(module, name.replace("inv_freq", "original_inv_freq"), None)
            if name.endswith("inv_freq") and "original" not in name and kept is not None:
                module.register_buffer(name, kept.clone(), persistent=False)
                cached = f"{name.removesuffix('inv_freq')}max_seq_len_cached"
                setattr(module, cached, original)
        module.max_seq_len_cached = original


def _types(config: Any) -> Iterator[str]:
    parameters = getattr(config, "rope_parameters", None)
    for value in (parameters, *(parameters.values() if isinstance(parameters, dict) else ())):
        if isinstance(value, dict) and isinstance(value.get("rope_type"), str):
            yield value["rope_type"]
