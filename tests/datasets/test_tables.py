"""Oracles: the csv and json modules' own rules, hashlib, and files written by hand."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitloss.datasets.tables import (
    HubTable,
    Table,
    combined_digest,
    damaged_row,
    deviations,
    local_file,
    local_files,
    read_csv,
    read_jsonl,
    table_from_rows,
)
from bitloss.errors import TaskDataError


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITLOSS_DATA", raising=False)


def test_local_files_are_all_there_or_named(tmp_path: Path) -> None:
    assert local_files(None, ["a"]) is None
    (tmp_path / "b").touch()
    assert local_files(tmp_path, ["b"]) == {"b": tmp_path / "b"}
    with pytest.raises(TaskDataError) as caught:
        local_files(tmp_path, ["a", "b", "c", "d", "e", "f"], origin="https://a.example")
    assert caught.value.message == f"`{tmp_path}` has no a, c, d and 2 more"
    assert "(from https://a.example)" in caught.value.hint
    with pytest.raises(TaskDataError, match="upstream layout, or omit --data"):
        local_files(tmp_path, ["a"])


def test_the_first_alternative_that_is_there(tmp_path: Path) -> None:
    assert local_file(None, ["a", "b"]) is None
    with pytest.raises(TaskDataError, match="has no a or b"):
        local_file(tmp_path, ["a", "b"])
    (tmp_path / "b").touch()
    assert local_file(tmp_path, ["a", "b"]) == tmp_path / "b"
    (tmp_path / "a").touch()
    assert local_file(tmp_path, ["a", "b"]) == tmp_path / "a"


@given(st.lists(st.tuples(st.text(alphabet='a,"\n\u2028 ', max_size=6), st.text("b'", max_size=3))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_comes_back_as_it_was_written(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    table = read_csv(path, ("x", "y"), header=False)
    assert table.rows == tuple({"x": x, "y": y} for x, y in rows)
    assert not table.from_hub


def test_a_header_may_have_more_columns_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffy,extra,x\n1,2,3\n".encode())
    assert read_csv(path, ("x", "y"), header=True).rows == ({"y": "1", "extra": "2", "x": "3"},)
    with pytest.raises(TaskDataError, match=r"line 1 of .*: expected columns x, z, got y, extra"):
        read_csv(path, ("x", "z"), header=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"a\nb",1\nc\n', "line 3 of .*: expected 2 columns, got 1"),
        ('a,1\n"b,2\n', "line 2 of .*: expected CSV, got unexpected end of data"),
        ("a,1\n\nb,2\n", "line 2 of .*: expected 2 columns, got 0"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TaskDataError, match=message):
        read_csv(tmp_path / "t.csv", ("x", "y"), header=False)


def test_bytes_that_are_no_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,\xff\n")
    with pytest.raises(TaskDataError, match=r"UTF-8 text, got Latin-1 \(byte 0xff at offset 2 of"):
        read_csv(tmp_path / "t.csv", ("x", "y"), header=False)


def test_json_lines_plain_and_gzipped(tmp_path: Path) -> None:
    rows = ({"x": "a\u2028b"}, {"x": 1, "more": None})
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "t.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert read_jsonl(tmp_path / "t.jsonl", ["x"]).rows == rows
    assert read_jsonl(tmp_path / "t.jsonl.gz", ["x"]).rows == rows


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 of .*: expected a JSON object, got Expecting"),
        ("[1]", "line 2 of .*: expected a JSON object, got list"),
        ('{"y": 1}', "line 2 of .*: expected fields x, got y"),
        ("{}", "line 2 of .*: expected fields x, got none"),
    ],
)
def test_a_damaged_json_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"x": 1}\n' + line)
    with pytest.raises(TaskDataError, match=message):
        read_jsonl(tmp_path / "t.jsonl", ["x"])


def test_a_truncated_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(b'{"x": 1}' * 99)[:-12])
    with pytest.raises(TaskDataError, match="cannot read"):
        read_jsonl(tmp_path / "t.jsonl.gz", ["x"])


def test_one_table_has_its_own_digest_and_several_a_common_one() -> None:
    one, two = Table((), "a" * 64, "1"), Table((), "b" * 64, "2")
    assert combined_digest([one]) == "a" * 64
    expected = hashlib.sha256(("a" * 64 + "\n" + "b" * 64).encode()).hexdigest()
    assert combined_digest([one, two]) == expected


def test_what_is_not_as_published_is_noted() -> None:
    row = {"x": 1}
    local = Table((row,) * 1500, "a" * 64, "f")
    assert deviations("T", [local], rows=1500, digest="a" * 64) == ()
    assert deviations("T", [local], rows=1500) == ()
    assert deviations("T", [local, local], rows=1500, digest="b" * 64) == (
        "T: 3,000 rows, the published files have 1,500",
        f"T: sha256 {combined_digest([local, local])[:8]}, the published files have bbbbbbbb",
    )
    # The hub's digests are of rows, and are not held against a file's.
    assert deviations("T", [table_from_rows([row], "hub")], rows=1, digest="b" * 64) == ()


def test_rows_of_the_hub_have_a_digest_of_their_contents() -> None:
    one = table_from_rows([{"x": 1, "y": "é"}], "hub: r")
    assert one.digest == table_from_rows([{"y": "é", "x": 1}], "elsewhere").digest
    assert one.digest != table_from_rows([{"x": 2, "y": "é"}], "hub: r").digest
    assert (one.from_hub, one.source) == (True, "hub: r")


def test_names_for_people() -> None:
    assert str(HubTable("a/b", "c", "test")) == "hub: a/b, c, test"
    assert str(HubTable("a/b", None, "test")) == "hub: a/b, test"
    error = damaged_row(Table((), "", "f"), 0, "this", "that")
    assert error.message == "row 1 of `f`: expected this, got that"
