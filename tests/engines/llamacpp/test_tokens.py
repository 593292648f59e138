"""What llama.cpp's own tokenizer reads from the bundled model's file. Oracle: the reference's."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from bitloss.engines.llamacpp.plug import ENGINE
from bitloss.engines.tokens_read import differences, texts_to_try
from bitloss.engines.values import Candidate, Model
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.formats.tokenizers.loading import HFTokenizer, load_tokenizer
from bitloss.quantizers.gguf_writer import open_source, write_gguf

pytestmark = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


@pytest.fixture(scope="module")
def tokenizer(pocket: Path) -> HFTokenizer:
    return load_tokenizer(pocket)


@pytest.fixture(scope="module")
def candidate(pocket: Path, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    path = tmp_path_factory.mktemp("gguf") / "a.gguf"
    write_gguf(open_source(pocket), path)
    checkpoint = open_checkpoint(path)
    return Candidate(Model("a", identify(checkpoint), checkpoint, path), "llama.cpp")


def test_the_same_tokens_are_no_news(candidate: Candidate, tokenizer: HFTokenizer) -> None:
    assert ENGINE.check(candidate, tokenizer, ["One passage.", "And 1,234 more\n"]) == ()


def test_a_file_that_splits_texts_in_another_way(
    candidate: Candidate, tokenizer: HFTokenizer, tmp_path: Path
) -> None:
    """SmolLM2's rule splits numbers into digits, Falcon's does not; the file names the other."""
    data = (candidate.model.path or Path()).read_bytes()
    field = b"tokenizer.ggml.pre" + (8).to_bytes(4, "little") + (6).to_bytes(8, "little")
    assert data.count(field + b"smollm") == 1
    file = tmp_path / "b.gguf"
    file.write_bytes(data.replace(field + b"smollm", field + b"falcon"))
    other = replace(candidate, model=replace(candidate.model, path=file))
    (note,) = ENGINE.check(other, tokenizer, ["of 1998 and 2024"])
    assert note.startswith("llama.cpp itself tokenizes ")
    assert note.endswith("; in this run it was given the reference's tokens")


def test_the_shortest_text_shows_the_difference(tokenizer: HFTokenizer) -> None:
    texts = ["long enough to be second", "a b", "c"]
    ours = [tokenizer.encode(text, special=False).tolist() for text in texts]
    assert differences(tokenizer, texts, ours, "it") == ""
    theirs = [[*ours[0], 9], [*ours[1][:-1], 9], ours[2]]
    at = len(ours[1]) - 1
    assert differences(tokenizer, texts, theirs, "it") == (
        "it itself tokenizes 2 of 3 sample texts differently from the reference, such as 'a b': at "
        f"{at}, [9] for [{ours[1][-1]}]; in this run it was given the reference's tokens"
    )


def test_ends_of_texts_are_tried(tokenizer: HFTokenizer) -> None:
    end = tokenizer.text([tokenizer.eos_id or 0])
    assert f"a{end}b" in texts_to_try(tokenizer)
