"""Oracle: what the package gguf was told to write."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from bitloss.errors import CheckpointError
from bitloss.formats.gguf import read_vocabulary, vocabulary

TOKENS = ["<s>", "</s>", "Ġthe", "ž", "[PAD4]"]


def _write(path: Path, *, tokens: bool = True, flags: bool = True) -> Path:
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
