"""What a GGUF file says of its tokenizer: tokens, merges, scores and rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bitloss.errors import CheckpointError
from bitloss.formats.gguf.files import find_file, open_files

__all__ = ["Vocabulary", "read_vocabulary", "vocabulary"]

_Kind = TypeVar("_Kind")

_UNUSED = 5  # gguf.TokenType.UNUSED: a row of the embedding that no token stands for
_NORMAL = 1


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a GGUF file says of its tokenizer.

    Attributes:
        tokens: by id, as the tokenizer's own vocabulary spells them; padding rows included.
        unused: ids that pad the vocabulary to the embedding's size.
        model: llama.cpp's kind of tokenizer (``gpt2`` is byte-level BPE, ``llama`` SentencePiece).
        pre: llama.cpp's name of the pre-tokenizer, None where the file does not say.
        bos_id: beginning of sequence, None where there is none.
        eos_id: end of sequence, None where there is none.
        adds_bos: whether BOS is put in front; None leaves it to llama.cpp's default.
        adds_eos: whether EOS is put behind; None leaves it to llama.cpp's default.
        types: llama.cpp's type of each token (`gguf.TokenType`).
        merges: of byte-level BPE, in order, as the file spells them (``"t h"``).
        scores: of SentencePiece, one for each token; empty where the file has none.
        space_prefix: whether a blank is put before a text; None leaves it to llama.cpp's default.
        unk_id: what stands for unknown text, None where there is none.
        pad_id: padding, None where there is none.
        chat_template: Jinja, empty where there is none.
        name: ``general.name``, by which llama.cpp knows a few models.
    """

    tokens: tuple[str, ...]
    unused: frozenset[int]
    model: str
    pre: str | None
    bos_id: int | None
    eos_id: int | None
    adds_bos: bool | None
    adds_eos: bool | None
    types: tuple[int, ...]
    merges: tuple[str, ...]
    scores: tuple[float, ...]
    space_prefix: bool | None
    unk_id: int | None
    pad_id: int | None
    chat_template: str
    name: str


def read_vocabulary(path: Path) -> Vocabulary:
    """Read the tokenizer's part of the metadata.

    Args:
        path: a GGUF file, or a directory that holds one.

    Raises:
        CheckpointError: no GGUF file, a damaged one, or one without a vocabulary.
    """
    file = find_file(path)
    if file is None:
        raise CheckpointError(f"{path}: expected a GGUF file", hint="give the path of the file")
    metadata = open_files(file).metadata

    def get(key: str) -> object:
        return metadata.get(f"tokenizer.ggml.{key}")

    tokens = get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CheckpointError(
            f"{path}: the metadata lacks `tokenizer.ggml.tokens`",
            hint="give the reference's tokenizer with --tokenizer",
        )
    types = _numbers(path, "token_type", get("token_type"), len(tokens))

    def token(key: str) -> int | None:
        return _token(path, key, get(key), len(tokens))

    padding = get("padding_token_id")  # llama.cpp passes over one that is no token
    return Vocabulary(
        tokens=tuple(tokens),
        unused=frozenset(index for index, kind in enumerate(types) if kind == _UNUSED),
        model=str(get("model")),
        pre=_typed(path, "pre", get("pre"), str, "text"),
        bos_id=token("bos_token_id"),
        eos_id=token("eos_token_id"),
        adds_bos=_flag(path, "add_bos_token", get("add_bos_token")),
        adds_eos=_flag(path, "add_eos_token", get("add_eos_token")),
        types=tuple(types) or (_NORMAL,) * len(tokens),
        merges=_strings(path, "merges", get("merges")),
        scores=tuple(_numbers(path, "scores", get("scores"), len(tokens))),
        space_prefix=_flag(path, "add_space_prefix", get("add_space_prefix")),
        unk_id=token("unknown_token_id"),
        pad_id=padding if type(padding) is int and 0 <= padding < len(tokens) else None,
        chat_template=_text(metadata.get("tokenizer.chat_template")) or "",
        name=_text(metadata.get("general.name")) or "",
    )


def vocabulary(path: Path) -> list[str]:
    """The tokens by id; see `read_vocabulary`."""
    return list(read_vocabulary(path).tokens)


def _numbers(path: Path, key: str, value: object, count: int) -> list[Any]:
    """A list of one number for each token (llama.cpp refuses a shorter one); empty if absent."""
    if value is None:
        return []
    if (
        not isinstance(value, list)
        or len(value) < count
        or not all(isinstance(number, int | float) for number in value)
    ):
        got = f"{len(value)} values" if isinstance(value, list) else repr(value)[:80]
        raise CheckpointError(
            f"{path}: expected `tokenizer.ggml.{key}` to be {count} numbers, one for each token, "
            f"got {got}",
            hint="download or copy the file again: it is damaged or incomplete",
        )
    return value[:count]


def _strings(path: Path, key: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(path, key, "a list of texts", value)
    return tuple(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _token(path: Path, key: str, value: object, count: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise _wrong(path, key, f"a token from 0 to {count - 1}", value)
    return value


def _flag(path: Path, key: str, value: object) -> bool | None:
    return _typed(path, key, value, bool, "true or false")


def _typed(path: Path, key: str, value: object, kind: type[_Kind], words: str) -> _Kind | None:
    if value is None or isinstance(value, kind):
        return value
    raise _wrong(path, key, words, value)


def _wrong(path: Path, key: str, expected: str, got: object) -> CheckpointError:
    return CheckpointError(
        f"{path}: `tokenizer.ggml.{key}`: expected {expected}, got {repr(got)[:80]}",
        hint="download or copy the file again: it is damaged or incomplete",
    )
