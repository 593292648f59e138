"""Oracle: llama.cpp's own tokenizer, from the written file, against the source's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import QuantizationError
from bitloss.quantizers.gguf_tokenizer import pre_tokenizer_name, read_tokenizer, write_tokenizer
from peers import llama_cpp
from peers.tiny import byte_level_tokenizer

TEXT = """The quick brown fox doesn't jump; it's 12345 times over.
 leading space,  two spaces\n\n\tand a tab
naïve café — žluťoučký 日本語 🚀🚀
once upon a time there was a little girl named Lily
def f(x):
    return x**2 + 3.14
"""
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _byte_level(**options: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True, **options}


def _sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


def _write(model: Path, rows: int, out: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(out, "llama")
    write_tokenizer(writer, model, read_tokenizer(model, rows))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("source", "rows", "model", "pre"),
    [
        ("models/scribe-4m", 2048, "gpt2", "gpt-2"),
        ("models/stories260K", 512, "llama", "default"),
        ("tokenizers/gpt2-hf", 50257, "gpt2", "gpt-2"),
        ("tokenizers/qwen2", 151936, "gpt2", "qwen2"),
    ],
)
def test_llama_cpp_tokenizes_as_the_source_does(
    shared: Path, tmp_path: Path, source: str, rows: int, model: str, pre: str
) -> None:
    from transformers import AutoTokenizer

    folder = shared / source
    found = read_tokenizer(folder, rows)
    assert (found.model, found.pre) == (model, pre)
    assert len(found.tokens) == len(found.types) == rows
    _write(folder, rows, tmp_path / "vocabulary.gguf")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    expected = tokenizer(TEXT)["input_ids"]
    assert llama_cpp.tokenize(tmp_path / "vocabulary.gguf", TEXT) == expected


def test_types_and_special_tokens_of_a_sentencepiece_like_tokenizer(shared: Path) -> None:
    """By hand from its tokenizer.json: <unk>, <s>, </s>, 256 bytes, then merges and letters."""
    found = read_tokenizer(shared / "models" / "stories260K", 512)
    assert found.types[:5] == (2, 3, 3, 6, 6)
    assert set(found.types[3:259]) == {6}
    assert set(found.types[259:]) == {1}
    assert found.special_ids == {"bos": 1, "eos": 2, "unk": 0}
    assert (found.adds_bos, found.adds_eos, found.space_prefix) == (True, False, True)
    assert found.scores is not None
    assert found.scores[found.tokens.index("▁t")] == 0.0
    assert found.scores[found.tokens.index("▁a")] == -2.0


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    byte_level_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", '
        '"chat_template": "{{ messages }}"}'
    )
    return tmp_path


def test_rows_without_a_token_are_padding(tiny: Path) -> None:
    found = read_tokenizer(tiny, 264)
    assert found.tokens[262:] == ("[PAD262]", "[PAD263]")
    assert found.types == (3, 3, *[1] * 260, 5, 5)


def test_bos_merges_and_chat_template_are_written(tiny: Path) -> None:
    import gguf
    from tokenizers import processors

    tokenizer = byte_level_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer.save(str(tiny / "tokenizer.json"))
    _write(tiny, 262, tiny / "vocabulary.gguf")
    fields = gguf.GGUFReader(tiny / "vocabulary.gguf").fields
    assert fields["tokenizer.ggml.add_bos_token"].contents() is True
    assert fields["tokenizer.ggml.add_eos_token"].contents() is False
    assert fields["tokenizer.ggml.bos_token_id"].contents() == 0
    assert fields["tokenizer.ggml.merges"].contents() == ["t h", "th e", "Ġ the", "i n"]
    assert fields["tokenizer.chat_template"].contents() == "{{ messages }}"


def test_a_foreign_tokenizer_is_refused(tiny: Path) -> None:
    with pytest.raises(QuantizationError, match="262 tokens, the embedding 200 rows"):
        read_tokenizer(tiny, 200)


def test_a_missing_tokenizer_is_named(tiny: Path, shared: Path) -> None:
    for file in tiny.iterdir():
        file.unlink()
    shutil.copy(shared / "models" / "scribe-4m" / "config.json", tiny)
    with pytest.raises(QuantizationError, match="no tokenizer that can be read"):
        read_tokenizer(tiny, 200)


def test_a_unigram_tokenizer_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.Unigram([("a", -1.0), ("b", -2.0)], unk_id=0)).save(
        str(tmp_path / "tokenizer.json")
    )
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast"}'
    )
    with pytest.raises(QuantizationError, match="Unigram"):
        read_tokenizer(tmp_path, 2)


@pytest.mark.parametrize(
    ("pre_tokenizer", "name"),
    [
        (_byte_level(), "gpt-2"),
        (_sequence(_split(LLAMA3), _byte_level(use_regex=False)), "llama-bpe"),
        (_sequence({"type": "Digits", "individual_digits": True}, _byte_level()), "smollm"),
    ],
)
def test_known_pre_tokenizers(pre_tokenizer: dict[str, Any], name: str) -> None:
    """Llama 3's and SmolLM's as their tokenizer.json has them."""
    assert pre_tokenizer_name(pre_tokenizer) == name


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        None,
        _byte_level(add_prefix_space=True),
        _byte_level(use_regex=False),
        _sequence(_split(r"\p{L}+"), _byte_level(use_regex=False)),
        _sequence({**_split(LLAMA3), "invert": True}, _byte_level(use_regex=False)),
        {"type": "Whitespace"},
    ],
)
def test_unknown_pre_tokenizers_are_refused(pre_tokenizer: dict[str, Any] | None) -> None:
    with pytest.raises(QuantizationError, match="is not known") as caught:
        pre_tokenizer_name(pre_tokenizer)
    assert "convert_hf_to_gguf" in caught.value.hint
