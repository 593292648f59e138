"""Oracles: the published file's digest and counts, and the hub loaders' rules applied by hand."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.datasets import data_directory, load_corpus
from bitloss.datasets.pages import join_rows, split_pages, split_rows
from bitloss.errors import CorpusError, HubError, MissingDependency

TOY = " \n = One = \n \n text , \n = = Part = = \n more \n = Two = \n \n end \n"


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITLOSS_DATA", raising=False)


def test_rows_are_lines_and_blank_lines_are_empty() -> None:
    assert split_rows("a \n \n\nb") == ("a \n", "", "", "b")
    assert split_rows("a\u2028b\x0bc\x85\n") == ("a\u2028b\x0bc\x85\n",)


def test_pages_begin_at_level_one_headings() -> None:
    # The blank page before the first heading is dropped; a page's last newline is the separator.
    assert split_pages(TOY) == (
        " = One = \n \n text , \n = = Part = = \n more ",
        " = Two = \n \n end \n",
    )


def test_text_before_the_first_heading_is_a_page() -> None:
    assert split_pages("intro\n = A = \nx") == ("intro", " = A = \nx")


@given(st.text(alphabet="=a \n", max_size=60))
def test_pages_joined_are_the_text_again(text: str) -> None:
    pages = split_pages(text)
    joined = "\n".join(pages)
    assert text.endswith(joined)
    assert text[: len(text) - len(joined)].strip() == ""


@given(st.lists(st.text(alphabet="a\u2028=", min_size=1, max_size=5)))
def test_rows_joined_are_the_file_again(lines: list[str]) -> None:
    text = "".join(f" a{line} \n \n" for line in lines)
    assert join_rows(list(split_rows(text))) == text


def test_the_published_test_text(shared: Path) -> None:
    path = shared / "data" / "wikitext-2-raw" / "wiki.test.raw"
    corpus = load_corpus("wikitext-2", data=shared / "data")
    assert corpus.raw.encode() == path.read_bytes()
    assert corpus.digest.startswith("173c87a5")
    assert len(corpus.rows) == 4358
    assert len(corpus.documents) == 62
    assert corpus.documents[0].startswith(" = Robert Boulter = \n \n Robert Boulter is")
    assert corpus.source == str(path)
    # The hub's loader, word for word: a file iterated by lines, blank ones emptied.
    with path.open(encoding="utf-8") as file:
        assert corpus.rows == tuple(row if row.strip() else "" for row in file)


def test_wikitext_103_shares_the_test_text(shared: Path) -> None:
    corpus = load_corpus("wikitext-103", data=shared / "data")
    assert (corpus.name, corpus.digest[:8]) == ("wikitext-103", "173c87a5")


def test_the_validation_text(shared: Path) -> None:
    corpus = load_corpus("wikitext-2-valid", data=shared / "data")
    assert (len(corpus.rows), len(corpus.documents)) == (3760, 60)
    assert "published" not in corpus.source


def write_parquet(path: Path, rows: list[str]) -> None:
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"text": rows}), path)


def test_every_layout_gives_the_same_text(tmp_path: Path) -> None:
    (tmp_path / "a" / "wikitext-2-raw").mkdir(parents=True)
    (tmp_path / "a" / "wikitext-2-raw" / "wiki.test.raw").write_text(TOY)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "wiki.test.raw").write_text(TOY)
    hub = tmp_path / "c" / "wikitext-2-raw-v1" / "test-00000-of-00001.parquet"
    write_parquet(hub, list(split_rows(TOY)))
    corpora = [load_corpus("wikitext-2", data=tmp_path / layout) for layout in "abc"]
    assert {corpus.raw for corpus in corpora} == {TOY}
    assert {corpus.rows for corpus in corpora} == {split_rows(TOY)}


def test_other_bytes_than_the_published_are_said(tmp_path: Path) -> None:
    (tmp_path / "wiki.test.raw").write_text(TOY)
    source = load_corpus("wikitext-2", data=tmp_path).source
    assert "the published text has 173c87a5" in source


def test_the_environment_names_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data_directory(None) is None
    monkeypatch.setenv("BITLOSS_DATA", str(tmp_path))
    assert data_directory(None) == tmp_path
    (tmp_path / "other").mkdir()
    assert data_directory(tmp_path / "other") == tmp_path / "other"
    with pytest.raises(CorpusError, match="expected the data directory to be a directory"):
        data_directory(tmp_path / "nothing")
    monkeypatch.setenv("BITLOSS_DATA", str(tmp_path / "nothing"))
    with pytest.raises(CorpusError, match="expected BITLOSS_DATA to be a directory"):
        data_directory(None)


def test_the_hub_gives_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load_dataset(*arguments: str, **options: object) -> datasets.Dataset:
        asked.append((arguments, options))
        return datasets.Dataset.from_dict({"text": list(split_rows(TOY))})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    corpus = load_corpus("wikitext-2-valid", data=None)
    assert asked == [
        (
            ("Salesforce/wikitext", "wikitext-2-raw-v1"),
            {"split": "validation", "streaming": False},
        )
    ]
    assert corpus.raw == TOY
    assert corpus.documents == split_pages(TOY)
    assert corpus.source.startswith("hub: Salesforce/wikitext")


def test_without_network_the_hint_names_the_local_file() -> None:
    # HF_HUB_OFFLINE is set for all tests: the real library refuses to connect.
    with pytest.raises(HubError, match=r"wikitext-2-raw/wiki.test.raw: --data DIR"):
        load_corpus("wikitext-2", data=None)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependency, match=r"bitloss\[hub\]"):
        load_corpus("wikitext-103", data=None)
