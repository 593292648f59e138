"""Oracles: files written here, whose content the test knows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitloss.datasets import load_corpus
from bitloss.errors import CorpusError, UnknownName


def test_plain_text_is_one_row_byte_for_byte(tmp_path: Path) -> None:
    content = "\ufeffeins\r\nzwei\u2028drei\n\n".encode()
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    corpus = load_corpus(str(path), data=None)
    assert corpus.raw.encode() == content
    assert corpus.rows == corpus.documents == (corpus.raw,)
    assert corpus.digest == hashlib.sha256(content).hexdigest()
    assert (corpus.name, corpus.source) == ("text.txt", str(path))


def test_a_file_without_an_extension_is_text(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("hello")
    assert load_corpus(str(tmp_path / "notes"), data=None).raw == "hello"


def test_jsonl_rows(tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    rows = ["one\n", "", "zwei \u2028 drei"]
    lines = [json.dumps({"text": row, "id": 1}, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    corpus = load_corpus(str(path), data=None)
    assert corpus.rows == corpus.documents == tuple(rows)
    assert corpus.raw == "one\n\n\n\n\nzwei \u2028 drei"


def test_parquet_rows(tmp_path: Path) -> None:
    path = tmp_path / "text.parquet"
    pq.write_table(pa.table({"id": [1, 2], "text": ["one", "two"]}), path)
    assert load_corpus(str(path), data=None).rows == ("one", "two")


def test_wikitext_is_recognized_by_its_file_name(tmp_path: Path) -> None:
    path = tmp_path / "wiki.test.raw"
    path.write_text(" \n = A = \n \n text \n")
    corpus = load_corpus(str(path), data=None)
    assert corpus.rows == ("", " = A = \n", "", " text \n")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"ab\xffcd", "got byte 0xff at offset 2 of"),
        ("a.txt", b"", "got 0 characters of white space"),
        ("a.txt", b" \n\n", "got 3 characters of white space"),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"text": 1}\n',
            "line 2 of .*: expected a string under `text`, got int",
        ),
        ("a.jsonl", b'{"text": "a"}\n["b"]\n', "line 2 of .*: expected a JSON object, got list"),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"tex',
            "line 2 of .*: expected a JSON object, got Unterminated string",
        ),
        ("a.jsonl", b'{"content": "a"}', "expected a string under `text`, got content"),
        ("a.jsonl", b"\n", "white space"),
        ("a.parquet", b"PAR1 not really", "not a readable parquet file"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        load_corpus(str(path), data=None)


def test_parquet_without_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["one"]}), path)
    with pytest.raises(CorpusError, match=r"column `text` in .*, got body"):
        load_corpus(str(path), data=None)
    pq.write_table(pa.table({"text": ["one", None]}), path)
    with pytest.raises(CorpusError, match="got NoneType in row 1"):
        load_corpus(str(path), data=None)


def test_a_path_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file"):
        load_corpus(str(tmp_path / "nothing.txt"), data=None)
    with pytest.raises(CorpusError, match="expected a text file"):
        load_corpus(str(tmp_path), data=None)


def test_an_unknown_name_suggests_a_known_one() -> None:
    with pytest.raises(UnknownName, match="did you mean `wikitext-2`"):
        load_corpus("wikitext2", data=None)
