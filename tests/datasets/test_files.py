"""Oracles: files written here, by the libraries that write such files, whose content is known."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitloss.datasets import load_corpus
from bitloss.errors import CorpusError, UnknownName
from bitloss.types import Corpus

ROWS = ["one\n", "", 'zwei, "drei" \u2028 vier', "fünf\nsechs\tsieben"]


def load(path: Path, column: str = "") -> Corpus:
    return load_corpus(f"{path}::{column}" if column else str(path), data=None)


def test_plain_text_is_one_row_byte_for_byte(tmp_path: Path) -> None:
    content = "eins\r\nzwei\u2028drei\n\n".encode()
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    corpus = load(path)
    assert corpus.raw.encode() == content
    assert corpus.rows == corpus.documents == (corpus.raw,)
    assert corpus.digest == hashlib.sha256(content).hexdigest()
    assert (corpus.name, corpus.source, corpus.notes) == ("text.txt", str(path), ())


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "text.md"
    path.write_bytes("\ufeffeins\ufeff".encode())
    corpus = load(path)
    assert corpus.raw == "eins\ufeff"
    assert corpus.notes == ("the byte order mark at the beginning is left out",)


def test_a_file_without_an_extension_is_text(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("hello")
    assert load(tmp_path / "notes").raw == "hello"


def write(path: Path, kind: str, rows: list[Any], column: str = "text") -> Path:
    """A table with a number beside the text, gzipped if its name says so."""
    path = path.with_name(f"{path.name}{kind}")
    objects = [{"id": number, column: row} for number, row in enumerate(rows)]
    base = kind.removesuffix(".gz")
    plain = path.with_name("plain")
    if base == ".jsonl":
        lines = [json.dumps(value, ensure_ascii=False) for value in objects]
        plain.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    elif base == ".json":
        plain.write_text(json.dumps(objects, ensure_ascii=False, indent=2), encoding="utf-8")
    elif base in (".csv", ".tsv"):
        with plain.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter="," if base == ".csv" else "\t")
            writer.writerows([("id", column), *enumerate(rows)])
    elif base == ".parquet":
        pq.write_table(pa.Table.from_pylist(objects), plain)
    elif base == ".arrow":
        table = pa.Table.from_pylist(objects)
        with pa.OSFile(str(plain), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)
    content = plain.read_bytes()
    path.write_bytes(gzip.compress(content) if kind.endswith(".gz") else content)
    return path


KINDS = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow"]


@pytest.mark.parametrize("column", ["text", "body"])
@pytest.mark.parametrize("kind", [*KINDS, *(f"{kind}.gz" for kind in KINDS)])
def test_a_row_of_any_table_is_a_row(tmp_path: Path, kind: str, column: str) -> None:
    corpus = load(write(tmp_path / "t", kind, ROWS, column))
    assert corpus.rows == corpus.documents == tuple(ROWS)
    assert corpus.raw == "\n\n".join(ROWS)
    assert corpus.digest == hashlib.sha256(corpus.raw.encode()).hexdigest()
    chosen = (f"the text is the column `{column}`",) if column != "text" else ()
    assert corpus.notes == (*chosen, "1 of 4 rows are empty")


@pytest.mark.parametrize("kind", [".jsonl", ".json", ".parquet", ".arrow"])
def test_nulls_are_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    corpus = load(write(tmp_path / "t", kind, ["one", None, "two", None]))
    assert corpus.rows == ("one", "two")
    assert corpus.notes == ("2 of 4 rows are null: left out",)
    with pytest.raises(CorpusError, match="2 rows, all of them null"):
        load(write(tmp_path / "t", kind, [None, None]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_column_is_asked_for_where_several_could_be_meant(tmp_path: Path, kind: str) -> None:
    import pandas

    table = pandas.DataFrame({"title": ["A", "B"], "n": [1, 2], "body": ["one", "two"]})
    path = tmp_path / f"t{kind}"
    if kind in (".csv", ".tsv"):
        table.to_csv(path, sep="," if kind == ".csv" else "\t", index=False)
    elif kind in (".json", ".jsonl"):
        table.to_json(path, orient="records", lines=kind == ".jsonl")
    elif kind == ".parquet":
        table.to_parquet(path)
    else:
        table.to_feather(path, compression="uncompressed")
    with pytest.raises(CorpusError, match="got `title`, `body`") as caught:
        load(path)
    assert caught.value.hint == f"name the column that holds the text: {path}::title"
    corpus = load(path, "body")
    assert (corpus.rows, corpus.name, corpus.notes) == (("one", "two"), f"t{kind}::body", ())
    with pytest.raises(CorpusError, match=r"column `txt` in .*, got `title`, `n`, `body"):
        load(path, "txt")


def test_a_column_of_other_values_is_never_the_text(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": [1], "messages": [[{"role": "user"}]]}), path)
    with pytest.raises(CorpusError, match="got `n`, `messages`, none of strings") as caught:
        load(path)
    assert "column `text`" in caught.value.hint
    pq.write_table(pa.table({"text": [1, 2]}), path)
    with pytest.raises(CorpusError, match=r"row 1 of .*: expected a string in column `text`"):
        load(path)


def test_a_text_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(CorpusError, match="expected a table for column `x`"):
        load(tmp_path / "a.txt", "x")
    (tmp_path / "a::b.txt").write_text("two")
    assert load(tmp_path / "a::b.txt").raw == "two"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('["one", "two"]', ("one", "two")),
        ('{"version": "1", "data": [{"text": "one"}, {"text": "two"}]}', ("one", "two")),
        ('{"text": ["one", "two"]}', ("one", "two")),
        ('{\n "text": "one",\n "tags": ["a"]\n}', ("one",)),
        ('{"text": "one"}\n{"text": "two"}\n', ("one", "two")),
        (' [ ] ', None),
        ('[{"text": "one"} {"text": "two"}]', "expected `,` or the list's end"),
        ('[{"text": "one"}, 2]', "row 2 of .*: expected a JSON object, got int"),
        ('[{"text": "one"}] x', "the list's end after it, got ']'"),
        ('{"a": "x", "b": "y"}', "expected a list of rows, got an object with `a`, `b`"),
        ('{"title": "x", "tags": ["a"]}', "expected a list of rows, got an object with `title`"),
        ('"one"', "expected rows, got str"),
        ("[" * 100_000, "more than 100 deep"),
        ('["\\ud800"]', r"a string, got half of a surrogate pair \(.ud800\)"),
        ('[{"text": "one"}, {"text": ', "line 1 of .*: expected JSON"),
    ],
)  # fmt: skip
def test_json_documents(tmp_path: Path, text: str, rows: Any) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    if isinstance(rows, tuple):
        assert load(path).rows == rows
        return
    with pytest.raises(CorpusError, match=rows):
        load(path)


def test_wikitext_is_recognized_by_its_file_name(tmp_path: Path) -> None:
    path = tmp_path / "wiki.test.raw"
    path.write_text(" \n = A = \n \n text \n")
    corpus = load(path)
    assert corpus.rows == ("", " = A = \n", "", " text \n")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"ab\xffcd", r"got Latin-1 \(byte 0xff at offset 2 of"),
        ("a.txt", b"", "got 0 characters of white space"),
        ("a.txt", b" \n\n", "got 3 characters of white space"),
        ("a.txt", b'{"text": "a"}\n{"text": "b"}\n', "expected text in .*, got JSON"),
        ("a.md", b'[\n  {"text": "a"}\n]', "expected text in .*, got JSON"),
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
        ("a.jsonl", b'{"id": 1}', "got `id`, none of strings"),
        ("a.jsonl", b"\n", "white space"),
        ("a.csv", b"text,text\na,b\n", "line 1 of .*: expected a name of its own"),
        ("a.csv", b"id,text\n1,a\n2\n", "line 3 of .*: expected 2 columns, got 1"),
        ("a.csv", b'text\n"a\n', "expected CSV, got unexpected end of data"),
        ("a.csv", b"n,x\n1,2.5\n", "got `n`, `x`, none of strings"),
        ("a.parquet", b"PAR1 not really", "expected a Parquet file, got a damaged one"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "got a Git LFS pointer"),
        ("a.txt.gz", b"no gzip", "expected gzip-compressed data, got text"),
        ("a.txt.gz", gzip.compress(b"text" * 99, mtime=0)[:-9], "cannot read"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        load(path)


def test_a_footnote_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("[1]\nSee the other page.\n")
    assert load(tmp_path / "a.txt").raw.startswith("[1]")


def test_a_document_may_be_longer_than_a_csv_field(tmp_path: Path) -> None:
    """Oracle: Python's limit is 131,072 characters."""
    long = "word " * 100_000
    assert load(write(tmp_path / "t", ".csv", [long])).raw == long
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".parquet"])
def test_a_large_text_takes_no_more_than_three_times_its_size(tmp_path: Path, kind: str) -> None:
    rows = ["A row of ordinary words, as long as a paragraph is. " * 20] * 8_000
    size = sum(len(row) + 2 for row in rows)
    path = tmp_path / "t.txt"
    if kind == ".txt":
        path.write_text("\n\n".join(rows))
    else:
        path = write(tmp_path / "t", kind, rows)
    tracemalloc.start()
    try:
        corpus = load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(corpus.raw) == size - 2
    assert peak < 3 * size


def test_a_path_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file"):
        load(tmp_path / "nothing.txt")
    with pytest.raises(CorpusError, match="no such file"):
        load(tmp_path / "nothing.csv", "text")


def test_an_unknown_name_suggests_a_known_one() -> None:
    with pytest.raises(UnknownName, match="did you mean `wikitext-2`"):
        load_corpus("wikitext2", data=None)
