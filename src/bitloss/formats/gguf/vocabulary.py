"""The tokens of a GGUF file, to compare its tokenizer with the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitloss.errors import CheckpointError
from bitloss.formats.gguf.files import find_file, open_files

__all__ = ["Vocabulary", "read_vocabulary", "vocabulary"]

_UNUSED = 5  # gguf.TokenType.UNUSED: a row of the embedding that no token stands for


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
    """

    tokens: tuple[str, ...]
    unused: frozenset[int]
    model: str
    pre: str | None
    bos_id: int | None
    eos_id: int | None
    adds_bos: bool | None
    adds_eos: bool | None


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

    tokens, kinds = get("tokens"), get("token_type")
    if not isinstance(tokens, list):
        raise CheckpointError(
            f"{path}: the metadata lacks `tokenizer.ggml.tokens`",
            hint="give the reference's tokenizer with --tokenizer",
        )
    flags = {key: get(key) for key in ("add_bos_token", "add_eos_token")}
    ids = {key: get(key) for key in ("bos_token_id", "eos_token_id")}
    return Vocabulary(
        tokens=tuple(tokens),
        unused=frozenset(
            index
            for index, kind in enumerate(kinds if isinstance(kinds, list) else ())
            if kind == _UNUSED
        ),
        model=str(get("model")),
        pre=_text(get("pre")),
        bos_id=_number(ids["bos_token_id"]),
        eos_id=_number(ids["eos_token_id"]),
        adds_bos=_flag(flags["add_bos_token"]),
        adds_eos=_flag(flags["add_eos_token"]),
    )


def vocabulary(path: Path) -> list[str]:
    """The tokens by id; see `read_vocabulary`."""
    return list(read_vocabulary(path).tokens)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
