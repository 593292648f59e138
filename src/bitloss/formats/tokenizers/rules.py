"""The rules of two tokenizers, held against each other as `tokenizers` writes them down.

What a probe shows decides whether models can be compared. Rules say where to look further, and what
has to be said although no probe shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bitloss.formats.tokenizers.huggingface import HFTokenizer

__all__ = ["differing_rules", "merge_texts", "special_tokens_note"]

# What is set by calls, or decides no ids. Merges and tokens are compared by themselves.
_OTHER = ("version", "truncation", "padding", "decoder")
# Texts that are tried; a merge that is moved moves all behind it.
_TEXTS = 512


def differing_rules(reference: HFTokenizer, variant: HFTokenizer) -> tuple[str, ...]:
    """Names of the parts of two ``tokenizer.json`` that differ; none where one has no such file."""
    if reference.listed is not None or variant.listed is not None:
        return ()
    ours, theirs = _rules(reference), _rules(variant)
    if not ours or not theirs:
        return ()
    mine, other = ours.pop("model"), theirs.pop("model")
    parts = [key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)]
    parts += [
        f"model.{key}"
        for key in sorted(mine.keys() | other.keys())
        if key != "vocab" and mine.get(key) != other.get(key)
    ]
    return tuple(part for part in parts if part not in _OTHER)


def merge_texts(reference: HFTokenizer, variant: HFTokenizer) -> Iterator[str]:
    """Texts of the tokens whose merges differ, in the list or in their place of it.

    SentencePiece's are made of scores; the tokens with which they are compared are all there is.
    """
    if any(
        side.listed is not None and side.listed.model != "gpt2" for side in (reference, variant)
    ):
        return
    ours, theirs = _merges(reference), _merges(variant)
    if not ours or not theirs or ours == theirs:
        return
    places = {merge: place for place, merge in enumerate(theirs)}
    moved = [merge for place, merge in enumerate(ours) if places.get(merge) != place]
    known = set(ours)
    moved += [merge for merge in theirs if merge not in known]
    for left, right in moved[:_TEXTS]:
        text = reference.hf.convert_tokens_to_string([left + right])
        if text and "\ufffd" not in text:  # a part of a character is no text
            yield str(text)


def special_tokens_note(reference: HFTokenizer, variant: HFTokenizer) -> str:
    """What is said of another BOS or EOS; the run uses the reference's."""
    parts = []
    for name, ours, theirs in (
        ("BOS", reference.bos_id, variant.bos_id),
        ("EOS", reference.eos_id, variant.eos_id),
    ):
        if ours != theirs:
            shown = [
                "none" if number is None else f"`{owner.hf.convert_ids_to_tokens(number)}`"
                for owner, number in ((variant, theirs), (reference, ours))
            ]
            parts.append(f"its own {name} is {shown[0]}, the reference's {shown[1]}")
    return f"{', '.join(parts)}: the reference's is used" if parts else ""


def _rules(tokenizer: HFTokenizer) -> dict[str, Any]:
    backend = getattr(tokenizer.hf, "backend_tokenizer", None)
    rules: dict[str, Any] = {} if backend is None else json.loads(backend.to_str())
    return rules


def _merges(tokenizer: HFTokenizer) -> list[tuple[str, str]]:
    merges = (_rules(tokenizer).get("model") or {}).get("merges") or []
    return [tuple(merge.split(" ", 1) if isinstance(merge, str) else merge) for merge in merges]
