"""The retrieval task. Oracle: the prompts themselves, read back with the model's tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitloss.datasets import load_corpus
from bitloss.errors import CorpusError
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.studies.context.retrieval import (
    CHANCE,
    ITEMS,
    KEYS,
    context_of,
    contexts,
    write_retrieval,
)
from bitloss.tasks.find import resolve_task


def test_lengths_double_up_to_the_context() -> None:
    assert contexts(1024) == [128, 256, 512, 1024]
    assert contexts(300) == [128, 256, 300]
    assert contexts(128) == [128]
    assert [context_of(name) for name in ("retrieval-512", "retrieval-x", "mmlu")] == [
        512, None, None,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, pocket: Path) -> list[Path]:
    text = load_corpus("pocket-prose", data=None).raw[:2000]  # shorter than the longest context
    folder = tmp_path_factory.mktemp("retrieval")
    return write_retrieval(folder, load_tokenizer(pocket), text, longest=600, seed=3)


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]


def test_every_prompt_fits_and_fills_its_length(files: list[Path], pocket: Path) -> None:
    tokenizer = load_tokenizer(pocket)
    for path, length in zip(files, (128, 256, 512, 600), strict=True):
        items = resolve_task(str(path)).load(None).items
        assert len(items) == ITEMS
        counts = [
            len(tokenizer.encode(f"{one.prompt.text} {one.options[one.gold or 0]}", special=True))
            for one in items
        ]
        assert max(counts) <= length
        assert min(counts) > 0.9 * length - 8


def test_the_text_says_the_answer_once_among_three_others(files: list[Path]) -> None:
    for path in files:
        places = []
        for row in rows(path):
            text, options, answer = str(row["text"]), row["options"], str(row["answer"])
            assert isinstance(options, list)
            assert len(set(options)) == KEYS
            assert answer in options
            for key in options:
                assert text.count(f"is {key}.") == 1
            assert text.count(f"The pass key of the {row['thing']} is {answer}.") == 1
            places.append(text.index(f"is {answer}.") / len(text))
            assert places[-1] == pytest.approx(row["depth"], abs=0.3)
        assert min(places) < 0.3
        assert max(places) > 0.7
    assert CHANCE == 0.25


def test_the_same_seed_asks_the_same(files: list[Path], pocket: Path, tmp_path: Path) -> None:
    text = load_corpus("pocket-prose", data=None).raw[:2000]
    tokenizer = load_tokenizer(pocket)
    again = write_retrieval(tmp_path / "a", tokenizer, text, longest=600, seed=3)
    other = write_retrieval(tmp_path / "b", tokenizer, text, longest=600, seed=4)
    assert [one.with_suffix(".jsonl").read_text() for one in again] == [
        one.with_suffix(".jsonl").read_text() for one in files
    ]
    assert rows(other[0]) != rows(files[0])


def test_no_text_is_refused(pocket: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="expected text to hide pass keys in"):
        write_retrieval(tmp_path, load_tokenizer(pocket), "", longest=128)
