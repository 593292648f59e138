"""A transformers tokenizer in GGUF's terms.

llama.cpp does not store how text is split before BPE: it knows a list of pre-tokenizers by name
(src/llama-vocab.cpp), and a file without the right name tokenizes differently from its source.
The name is decided here from the tokenizer's own pre-tokenizer, never guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bitloss.errors import CheckpointError, QuantizationError, UnsupportedModel
from bitloss.formats.tokenizers.loading import load_tokenizer

__all__ = ["GgufTokenizer", "pre_tokenizer_name", "read_tokenizer", "write_tokenizer"]

# enum llama_token_type
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

_GPT2 = "byte-level"
_DIGITS = "digits"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The steps of a pre-tokenizer -> llama.cpp's name (the "original regex" comments in
# src/llama-vocab.cpp, llm_tokenizer_bpe).
_NAMES = MappingProxyType(
    {
        (_GPT2,): "gpt-2",
        (_DIGITS, _GPT2): "smollm",
        (_WORDS + r"\p{N}{1,3}" + _REST,): "llama-bpe",
        (_WORDS + r"\p{N}" + _REST,): "qwen2",
        (_TEKKEN,): "tekken",
    }
)

_OTHERWISE = "convert the model with llama.cpp's convert_hf_to_gguf.py and give the .gguf file"
_SPECIAL = ("bos", "eos", "unk", "pad")
# Far below every merge's rank: such tokens are characters, or are found as a whole.
_NO_MERGE = -1e6


@dataclass(frozen=True, slots=True)
class GgufTokenizer:
    """The tokenizer's part of the metadata.

    Attributes:
        model: ``"gpt2"`` for byte-level BPE, ``"llama"`` for SentencePiece-like BPE.
        pre: llama.cpp's name of the pre-tokenizer.
        tokens: one for each row of the embedding; rows without a token are ``[PAD<id>]``.
        types: llama.cpp's token types.
        scores: for ``"llama"``, the order in which pairs are merged; else None.
        space_prefix: for ``"llama"``, whether a space is put before the text.
        special_ids: of ``bos``, ``eos``, ``unk`` and ``pad``, where there is one.
        adds_bos: whether BOS is put in front.
        adds_eos: whether EOS is put behind.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...] | None
    space_prefix: bool | None
    special_ids: Mapping[str, int]
    adds_bos: bool
    adds_eos: bool


def read_tokenizer(model: Path, rows: int) -> GgufTokenizer:
    """Read a model directory's tokenizer.

    Args:
        model: the directory.
        rows: of the embedding; the vocabulary is padded to it.

    Raises:
        QuantizationError: no tokenizer, one of a kind that llama.cpp does not know, or more
            tokens than rows.
    """
    tokenizer = _load(model)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    bpe = state["model"]
    if bpe["type"] != "BPE":
        raise QuantizationError(
            f"{model}: a {bpe['type']} tokenizer; expected BPE (byte-level, or SentencePiece-like)",
            hint=_OTHERWISE,
        )
    spelled = {index: token for token, index in bpe["vocab"].items()}
    added = {token["id"]: token for token in state["added_tokens"]}
    spelled |= {index: token["content"] for index, token in added.items()}
    if max(spelled) >= rows:
        raise QuantizationError(
            f"{model}: the tokenizer has {max(spelled) + 1} tokens, the embedding {rows} rows",
            hint="copy the tokenizer's files from the model that the weights belong to",
        )
    sentencepiece = bool(bpe.get("byte_fallback"))
    unknown = bpe.get("unk_token") if sentencepiece else None
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in _SPECIAL}
    probe = tokenizer("a")["input_ids"]
    types = tuple(
        _type(spelled.get(index), added.get(index), unknown, sentencepiece=sentencepiece)
        for index in range(rows)
    )
    tokens = [spelled.get(index, f"[PAD{index}]") for index in range(rows)]
    return GgufTokenizer(
        model="llama" if sentencepiece else "gpt2",
        pre="default" if sentencepiece else pre_tokenizer_name(state["pre_tokenizer"]),
        # Tokens of the user's are looked for in the text as it is (conversion/base.py).
        tokens=tuple(
            token.replace("\u2581", " ") if sentencepiece and kind == _USER_DEFINED else token
            for token, kind in zip(tokens, types, strict=True)
        ),
        types=types,
        scores=_scores(bpe, spelled, rows) if sentencepiece else None,
        space_prefix=_space_prefix(state) if sentencepiece else None,
        special_ids={name: index for name, index in ids.items() if index is not None},
        adds_bos=ids["bos"] is not None and probe[0] == ids["bos"],
        adds_eos=ids["eos"] is not None and probe[-1] == ids["eos"],
    )


def pre_tokenizer_name(pre_tokenizer: Mapping[str, Any] | None) -> str:
    """llama.cpp's name of a byte-level BPE's pre-tokenizer.

    Args:
        pre_tokenizer: as in ``tokenizer.json``.

    Raises:
        QuantizationError: llama.cpp has none that is known to be the same.
    """
    parts = [pre_tokenizer] if pre_tokenizer else []
    if pre_tokenizer and pre_tokenizer["type"] == "Sequence":
        parts = pre_tokenizer["pretokenizers"]
    name = _NAMES.get(tuple(step for part in parts for step in _steps(part)))
    if name is None:
        described = json.dumps(pre_tokenizer, ensure_ascii=False)
        raise QuantizationError(
            f"llama.cpp's name for this pre-tokenizer is not known: {described[:300]}",
            hint=_OTHERWISE,
        )
    return name


def write_tokenizer(writer: Any, model: Path, tokenizer: GgufTokenizer) -> None:
    """Add the tokenizer to a `gguf.GGUFWriter`, with the directory's merges and chat template."""
    import gguf

    writer.add_tokenizer_model(tokenizer.model)
    writer.add_tokenizer_pre(tokenizer.pre)
    writer.add_token_list(list(tokenizer.tokens))
    writer.add_token_types(list(tokenizer.types))
    if tokenizer.scores is not None:
        writer.add_token_scores(list(tokenizer.scores))
        writer.add_add_space_prefix(tokenizer.space_prefix)
    special = gguf.SpecialVocab(model, load_merges=tokenizer.scores is None)
    # The library guesses these from the files; the tokenizer knows them.
    special.special_token_ids = dict(tokenizer.special_ids)
    special.add_special_token = {"bos": tokenizer.adds_bos, "eos": tokenizer.adds_eos}
    special.add_to_gguf(writer, quiet=True)


def _load(model: Path) -> Any:
    try:
        tokenizer = load_tokenizer(model).hf
    except (CheckpointError, UnsupportedModel) as error:
        raise QuantizationError(
            f"{model}: no tokenizer that can be read: {error.message}",
            hint="put tokenizer.json beside the weights: a GGUF file holds its tokenizer",
        ) from error
    if not tokenizer.is_fast:
        raise QuantizationError(
            f"{model}: a tokenizer written in Python; expected one with a tokenizer.json",
            hint=_OTHERWISE,
        )
    return tokenizer


def _steps(part: Mapping[str, Any]) -> tuple[str, ...]:
    """A pre-tokenizer's steps in the words of `_NAMES`; ``?`` is what llama.cpp cannot do."""
    kind = part["type"]
    if kind == "ByteLevel":
        return ("?",) if part.get("add_prefix_space") else (_GPT2,) * bool(part["use_regex"])
    if kind == "Digits" and part["individual_digits"]:
        return (_DIGITS,)
    if kind == "Split" and part["behavior"] == "Isolated" and not part.get("invert"):
        return (part["pattern"].get("Regex", "?"),)
    return ("?",)


def _type(
    token: str | None, added: Mapping[str, Any] | None, unknown: str | None, *, sentencepiece: bool
) -> int:
    if token is None:
        return _UNUSED
    if token == unknown:
        return _UNKNOWN
    if added is not None:
        return _CONTROL if added["special"] else _USER_DEFINED
    if sentencepiece and re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", token):
        return _BYTE
    return _NORMAL


def _scores(bpe: Mapping[str, Any], spelled: Mapping[int, str], rows: int) -> tuple[float, ...]:
    """Scores with which llama.cpp merges pairs in the order of the merges: minus their rank.

    The official converter gives every token of a ``tokenizer.json`` the same score, and llama.cpp
    then merges from the left, whatever the ranks.
    """
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(bpe["merges"]):
        ranks.setdefault("".join(merge if isinstance(merge, list) else merge.split(" ")), rank)
    return tuple(
        -float(ranks[token]) if (token := spelled.get(index, "")) in ranks else _NO_MERGE
        for index in range(rows)
    )


def _space_prefix(state: Mapping[str, Any]) -> bool:
    """Whether the tokenizer puts a space before the text (``▁`` after normalization)."""
    normalizer, splitter = state.get("normalizer") or {}, state.get("pre_tokenizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    if any(step.get("type") == "Prepend" for step in steps):
        return True
    parts = splitter.get("pretokenizers", [splitter])
    return any(
        part.get("type") == "Metaspace" and part.get("prepend_scheme", "always") != "never"
        for part in parts
    )
