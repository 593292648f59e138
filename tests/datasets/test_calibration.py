"""Oracles: sequences that the test can find again in the text, and files written here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.datasets import calibration_tokens, load_corpus
from bitloss.errors import CorpusError, HubError, UsageError
from bitloss.types import Corpus
from peers.tokenizers import CharTokenizer


def text(raw: str) -> Corpus:
    return Corpus("toy", "", raw, (raw,), (raw,))


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITLOSS_DATA", raising=False)


@given(st.integers(5, 300), st.integers(1, 20), st.integers(1, 5), st.integers(0, 9))
def test_sequences_are_pieces_of_the_text(n: int, samples: int, length: int, seed: int) -> None:
    raw = "".join(chr(0x4E00 + number) for number in range(n))
    tokenizer = CharTokenizer(adds_bos=True)
    chosen = calibration_tokens(
        text(raw), tokenizer, samples=samples, sample_length=length, seed=seed
    )
    assert len(chosen) == min(samples, n // length)
    for ids in chosen:  # consecutive in the text, and no BOS among them
        assert ids == list(range(ids[0], ids[0] + length))
    flat = [token for ids in chosen for token in ids]
    assert len(set(flat)) == len(flat)


def test_the_seed_decides() -> None:
    corpus = text("".join(chr(0x4E00 + number) for number in range(1000)))

    def choose(seed: int) -> list[list[int]]:
        return calibration_tokens(corpus, CharTokenizer(), samples=5, sample_length=10, seed=seed)

    assert choose(0) == choose(0)
    assert choose(0) != choose(1)


def test_a_text_shorter_than_a_sequence_is_an_error() -> None:
    with pytest.raises(CorpusError, match="expected at least 10 tokens, got 9"):
        calibration_tokens(text("x" * 9), CharTokenizer(), samples=1, sample_length=10, seed=0)


@pytest.mark.parametrize(("samples", "length"), [(0, 10), (1, 0)])
def test_nothing_to_choose(samples: int, length: int) -> None:
    with pytest.raises(UsageError, match="at least 1 sample"):
        calibration_tokens(
            text("x" * 9), CharTokenizer(), samples=samples, sample_length=length, seed=0
        )


@pytest.mark.parametrize(
    ("name", "file"),
    [("web", "exl3_c4"), ("code", "exl3_code"), ("wiki", "exl3_wiki"),
     ("technical", "exl3_technical")],
)  # fmt: skip
def test_local_files(tmp_path: Path, name: str, file: str) -> None:
    folder = tmp_path / "calibration"
    folder.mkdir()
    (folder / f"{file}.utf8").write_text(f"text of {name}")
    corpus = load_corpus(name, data=tmp_path)
    assert (corpus.name, corpus.raw) == (name, f"text of {name}")
    flat = load_corpus(name, data=folder)
    assert flat.raw == corpus.raw


def test_code_and_technical_have_no_hub() -> None:
    with pytest.raises(HubError, match=r"DIR/calibration/exl3_code.utf8"):
        load_corpus("code", data=None)


def test_technical_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="not in `"):
        load_corpus("technical", data=tmp_path)


def test_web_streams_a_few_rows_of_c4(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    taken = []

    def load_dataset(*arguments: str, **options: object) -> object:
        assert arguments == ("allenai/c4", "en")
        assert options == {"split": "validation", "streaming": True}

        def rows() -> object:
            for number in range(10_000):
                taken.append(number)
                yield {"text": f"page {number}"}

        return rows()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    corpus = load_corpus("web", data=None)
    assert len(corpus.documents) == len(taken) == 640
    assert corpus.raw.startswith("page 0\n\npage 1\n\n")


def test_wiki_is_the_training_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(*arguments: str, **options: object) -> object:
        assert arguments == ("Salesforce/wikitext", "wikitext-2-raw-v1")
        assert options["split"] == "train"
        return [{"text": " = A = \n"}, {"text": ""}, {"text": " b \n"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_corpus("wiki", data=None).raw == " = A = \n \n b \n"


def test_without_network_the_hint_names_the_local_file() -> None:
    with pytest.raises(HubError, match=r"calibration/exl3_c4.utf8: --data DIR"):
        load_corpus("web", data=None)
