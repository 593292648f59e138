"""Documents on disk. Oracle: what a directory holds before and after."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.errors import StorageError
from bitloss.files import append_text, replacing, write_text


def fail_half_way(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_text("half")
        raise KeyError


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "one\r\n")
    assert target.read_bytes() == b"one\r\n"
    assert target.stat().st_mode & 0o777 == 0o644
    with pytest.raises(KeyError):
        fail_half_way(target)
    assert target.read_bytes() == b"one\r\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "a.txt", tmp_path / "link"
    target.write_text("one")
    target.chmod(0o600)
    link.symlink_to("a.txt")
    write_text(link, "two")
    assert link.is_symlink()
    assert target.read_text() == "two"
    assert target.stat().st_mode & 0o777 == 0o600


def test_refusals(tmp_path: Path) -> None:
    for write in (write_text, append_text):
        with pytest.raises(StorageError, match="cannot write"):
            write(tmp_path / "none" / "a.txt", "x")
        with pytest.raises(StorageError, match="cannot write"):
            write(tmp_path, "x")
    assert list(tmp_path.iterdir()) == []
