"""Damage of every kind. Oracle: sha256, and the document's own digest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bitloss
from bitloss.errors import StorageError, UsageError
from bitloss.runner.packs.opened import open_pack
from bitloss.types import SilentProgress


def _open(pack: Path) -> None:
    open_pack(pack, SilentProgress())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.data())
def test_a_flipped_bit_anywhere_is_noticed(copied: Path, where: st.DataObject) -> None:
    files = sorted(path for path in copied.rglob("*") if path.is_file())
    path = where.draw(st.sampled_from(files))
    whole = path.read_bytes()
    place = where.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= where.draw(st.sampled_from([1 << bit for bit in range(8)]))
    path.write_bytes(changed)
    try:
        with pytest.raises(StorageError) as error:
            _open(copied)
    finally:
        path.write_bytes(whole)
    assert path.name in error.value.message
    assert error.value.hint
    _open(copied)


def test_a_damaged_pack_gives_no_figures(copied: Path, inside: Path, tmp_path: Path) -> None:
    states = next((copied / "states").iterdir())
    content = bytearray(states.read_bytes())
    content[-1] ^= 1
    states.write_bytes(content)
    with pytest.raises(StorageError, match="damaged or changed"):
        bitloss.compare(copied, "./noisy", out=tmp_path / "run")
    assert not (tmp_path / "run" / "comparison.json").exists()


def test_a_file_that_is_cut_or_missing_is_named(copied: Path) -> None:
    head = copied / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"head\.safetensors: expected [\d,]+ bytes, got"):
        _open(copied)
    head.unlink()
    with pytest.raises(StorageError, match="lacks its file `head"):
        _open(copied)


def test_a_pack_of_a_newer_version_is_refused(copied: Path) -> None:
    document = json.loads((copied / "pack.json").read_text())
    (copied / "pack.json").write_text(json.dumps(document | {"pack_version": 2}))
    with pytest.raises(StorageError, match="version 2 of a newer bitloss") as error:
        _open(copied)
    assert error.value.hint.startswith("pip install --upgrade")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "states/../../outside", "pack.json"])
def test_a_document_that_names_files_outside_is_refused(copied: Path, name: str) -> None:
    document = json.loads((copied / "pack.json").read_text())
    document["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    (copied / "pack.json").write_text(json.dumps(document))
    with pytest.raises(StorageError, match="not a path inside the pack"):
        _open(copied)


def test_what_is_no_pack_is_no_pack(inside: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pack"
    empty.mkdir()
    with pytest.raises(StorageError, match="without pack") as error:
        bitloss.compare(empty, "./noisy", out=tmp_path / "run")
    assert error.value.exit_code == 2


def test_nothing_is_written_into_a_pack(inside: Path, copied: Path) -> None:
    with pytest.raises(UsageError, match="outside of a pack"):
        bitloss.compare("ref.pack", "./noisy", out=copied / "run")
    with pytest.raises(UsageError, match="outside of a pack"):
        bitloss.pack("./tiny", copied / "inner.pack", corpora=["first.txt"], engines=["dense"])
    with pytest.raises(UsageError, match="expected a model with weights"):
        bitloss.pack(copied, inside / "second.pack", corpora=["first.txt"])


def test_extra_files_of_a_hub_do_no_harm(copied: Path) -> None:
    before = open_pack(copied, SilentProgress()).document
    (copied / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    shutil.copytree(copied / "tokenizer", copied / ".cache")
    assert open_pack(copied, SilentProgress()).document == before
