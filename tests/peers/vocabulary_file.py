"""GGUF files that hold nothing but a vocabulary, written with the library `gguf`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

__all__ = ["greedy_merges", "write_bpe", "write_sentencepiece"]

CONTROL, USER_DEFINED, BYTE = 3, 4, 6


def greedy_merges(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-level BPE trained on texts that nothing splits.

    The most frequent pair is merged until every text is one token. So merges run across every
    place where a pre-tokenizer could split, and the ids show where it does.
    """
    from tokenizers import pre_tokenizers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words = [list("".join(piece for piece, _ in level.pre_tokenize_str(text))) for text in texts]
    tokens = dict.fromkeys(sorted(pre_tokenizers.ByteLevel.alphabet()))
    merges: list[str] = []
    while pairs := Counter(pair for word in words for pair in pairwise(word)):
        left, right = max(pairs, key=pairs.__getitem__)
        merges.append(f"{left} {right}")
        tokens[left + right] = None
        words = [_merged(word, left, right) for word in words if len(word) > 1]
    return list(tokens), merges


def _merged(word: list[str], left: str, right: str) -> list[str]:
    out: list[str] = []
    position = 0
    while position < len(word):
        if word[position : position + 2] == [left, right]:
            out.append(left + right)
            position += 2
        else:
            out.append(word[position])
            position += 1
    return out


def write_bpe(
    file: Path,
    tokens: Sequence[str],
    merges: Sequence[str],
    pre: str | None,
    *,
    control: Sequence[str] = (),
    user: Sequence[str] = (),
    model: str = "gpt2",
    **flags: Any,
) -> Path:
    """A byte-level BPE vocabulary; `control` and `user` tokens come last.

    Args:
        file: to write.
        tokens: ordinary tokens.
        merges: in order.
        pre: llama.cpp's name of the pre-tokenizer; None leaves it out.
        control: control tokens.
        user: user-defined tokens.
        model: llama.cpp's name of the kind of tokenizer.
        flags: arguments of the writer's ``add_...`` methods.
    """
    listed = [*tokens, *control, *user]
    types = [1] * len(tokens) + [CONTROL] * len(control) + [USER_DEFINED] * len(user)
    for index, token in enumerate(tokens):
        if token.startswith("<0x"):
            types[index] = BYTE
    writer = _writer(file, model, pre, listed, types)
    writer.add_token_merges(list(merges))
    _finish(writer, flags)
    return file


def write_sentencepiece(file: Path, pieces: Sequence[tuple[str, float, int]], **flags: Any) -> Path:
    """A SentencePiece vocabulary of pieces with score and type."""
    tokens, scores, types = zip(*pieces, strict=True)
    writer = _writer(file, "llama", "default", tokens, types)
    writer.add_token_scores(list(scores))
    _finish(writer, flags)
    return file


def _writer(
    file: Path, model: str, pre: str | None, tokens: Sequence[str], types: Sequence[int]
) -> Any:
    import gguf

    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_tokenizer_model(model)
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(list(tokens))
    writer.add_token_types(list(types))
    return writer


def _finish(writer: Any, flags: dict[str, Any]) -> None:
    for name, value in flags.items():
        getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
