"""Oracle: the contract of `load_published`, with files written by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bitloss.datasets import hub
from bitloss.datasets.published import PublishedTable, load_published
from bitloss.datasets.tables import HubTable, Table
from bitloss.errors import HubError, TaskDataError
from bitloss.spec.fingerprint import sha256_files

TEXT = '{"x": 1}\n{"x": 2}\n'
HUB = HubTable("owner/set", "c", "test")


@pytest.fixture(autouse=True)
def _no_data_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITLOSS_DATA", raising=False)


def table(**changes: object) -> PublishedTable:
    fields = {"name": "T", "file": "t/t.jsonl", "columns": ("x",), "rows": 2, "hub": HUB}
    return PublishedTable(**{**fields, **changes})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "t.jsonl").write_text(TEXT)
    return tmp_path


def test_a_local_file_as_published(data: Path) -> None:
    digest = sha256_files([data / "t" / "t.jsonl"])
    # `sha256_files` hashes each file's own hash.
    assert digest == hashlib.sha256(hashlib.sha256(TEXT.encode()).digest()).hexdigest()
    found, notes = load_published(data, table(digest=digest))
    assert [row["x"] for row in found.rows] == [1, 2]
    assert (found.digest, found.from_hub, notes) == (digest, False, ())


def test_another_file_is_read_and_said(data: Path) -> None:
    _, notes = load_published(data, table(rows=3, digest="0" * 64))
    assert notes[0] == "T: 2 rows, the published files have 3"
    assert "the published files have 00000000" in notes[1]


def test_a_missing_file_is_named_with_the_hub(tmp_path: Path) -> None:
    with pytest.raises(TaskDataError, match=r"has no t/t.jsonl\nhint: .*hub: owner/set, c, test"):
        load_published(tmp_path, table())


def test_another_reader(data: Path) -> None:
    def read(path: Path, columns: tuple[str, ...]) -> Table:
        return Table(({columns[0]: path.name},), "d", str(path))

    found, _ = load_published(data, table(), read=read)
    assert found.rows == ({"x": "t.jsonl"},)


def test_the_hub_without_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_fetch", lambda *_: [{"y": 1}, {"y": 2}])
    found, notes = load_published(None, table(hub_columns=("y",), digest="0" * 64))
    assert (found.from_hub, found.source, notes) == (True, "hub: owner/set, c, test", ())
    with pytest.raises(HubError, match="expected columns x"):
        load_published(None, table())


def test_without_network_the_hint_names_the_local_file() -> None:
    with pytest.raises(HubError, match=r"give a folder with t/t.jsonl: --data DIR"):
        load_published(None, table())
