"""Oracle: what the package gguf was told to write."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from bitloss.errors import CheckpointError
from bitloss.formats.gguf import read_vocabulary, vocabulary

TOKENS = ["<s>", "</s>", "Ġthe", "ž", "[PAD4]"]


def _write(path: Path, *, tokens: bool = True, flags: bool = True, **texts: str | int) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    if tokens:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("llama-bpe")
        writer.add_token_list(TOKENS)
        writer.add_token_types([3, 3, 1, 1, 5])
    if flags:
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(False)
    for key, value in texts.items():
        add = writer.add_string if isinstance(value, str) else writer.add_uint32
        add(key.replace("__", "."), value)
    writer.add_tensor("token_embd.weight", np.zeros((5, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_tokens_and_flags(tmp_path: Path) -> None:
    path = _write(tmp_path / "model.gguf")
    found = read_vocabulary(path)
    assert vocabulary(path) == TOKENS
    assert found.tokens == tuple(TOKENS)
    assert found.unused == {4}
    assert (found.model, found.pre) == ("gpt2", "llama-bpe")
    assert (found.bos_id, found.eos_id) == (0, 1)
    assert (found.adds_bos, found.adds_eos) == (True, False)


def test_what_the_file_does_not_say_is_none(tmp_path: Path) -> None:
    found = read_vocabulary(_write(tmp_path / "model.gguf", flags=False))
    assert (found.bos_id, found.eos_id, found.adds_bos, found.adds_eos) == (None,) * 4


def test_a_file_without_a_vocabulary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks `tokenizer\.ggml\.tokens`"):
        vocabulary(_write(tmp_path / "model.gguf", tokens=False))


def test_a_folder_without_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a GGUF file"):
        vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("tokenizer__ggml__bos_token_id", 5, "`tokenizer.ggml.bos_token_id`: expected"),
        ("tokenizer__ggml__eos_token_id", "x", "expected a token from 0 to 4, got 'x'"),
        ("tokenizer__ggml__add_bos_token", 1, "expected true or false, got 1"),
        ("tokenizer__ggml__merges", "x", "expected a list of texts, got 'x'"),
        ("split__count", "x", "`split.count`: expected a whole number, got 'x'"),
        ("split__tensors__count", "x", "`split.tensors.count`: expected a whole number, got 'x'"),
    ],
)  # fmt: skip
def test_values_of_another_type(tmp_path: Path, key: str, value: str | int, words: str) -> None:
    path = _write(tmp_path / "model.gguf", flags=False, **{key: value})
    with pytest.raises(CheckpointError) as raised:
        read_vocabulary(path)
    assert words in raised.value.message


def test_a_padding_that_is_no_token_is_passed_over(tmp_path: Path) -> None:
    """As llama.cpp does: it warns of a "bad special token", and nothing is computed with it."""
    path = _write(tmp_path / "model.gguf", tokenizer__ggml__padding_token_id=4294967295)
    assert read_vocabulary(path).pad_id is None
