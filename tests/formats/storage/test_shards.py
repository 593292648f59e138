"""Oracle: the safetensors library writes the files; damage is done by hand."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitloss.errors import CheckpointError
from bitloss.formats.storage.shards import file_metadata, mentions, open_shards, weight_files
from peers.checkpoints import write_model

TENSORS = {
    "a.weight": torch.arange(24, dtype=torch.float32).view(4, 6),
    "b.weight": torch.arange(10).to(torch.bfloat16),
    "c.qweight": torch.arange(-3, 9, dtype=torch.int32).view(3, 4),
    "d.scalar": torch.tensor(7, dtype=torch.int64),
    "e.empty": torch.empty((0, 3)),
}


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("single"), TENSORS) / "model.safetensors"


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_every_tensor_from_every_shard(shards: int, tmp_path: Path) -> None:
    opened = open_shards(write_model(tmp_path, TENSORS, shards=shards))
    assert len(opened.files) == shards
    assert set(opened.tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(opened.read(name), tensor)
        assert opened.tensors[name].shape == tuple(tensor.shape)
        assert opened.tensors[name].nbytes == tensor.nbytes
    assert opened.file_bytes == sum(file.stat().st_size for file in opened.files)
    with pytest.raises(CheckpointError, match=r"no tensor `f\.weight`"):
        opened.read("f.weight")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_truncated_anywhere(data: st.DataObject, single: Path, tmp_path: Path) -> None:
    whole = single.read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    (tmp_path / "model.safetensors").write_bytes(whole[:length])
    with pytest.raises(CheckpointError, match=rf"expected .*\d+ bytes.*, got {length}\b") as caught:
        open_shards(tmp_path)
    assert "again" in caught.value.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_header_is_an_error_of_ours_or_harmless(
    data: st.DataObject, single: Path, tmp_path: Path
) -> None:
    content = bytearray(single.read_bytes())
    header = int.from_bytes(content[:8], "little")
    place = data.draw(st.integers(0, header + 7))
    content[place] = data.draw(st.integers(0, 255))
    target = tmp_path / "model.safetensors"
    target.unlink(missing_ok=True)  # an old mapping of the file must not see the new bytes
    target.write_bytes(content)
    with contextlib.suppress(CheckpointError):  # and nothing else
        opened = open_shards(tmp_path)
        for name in opened.tensors:
            opened.read(name)


@pytest.mark.parametrize("offsets", [[0, 8, 16], [0, 16.0], [16], None, [-16, 0]])
def test_offsets_that_are_none(offsets: object, tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": offsets}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(16)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="header cannot be read"):
        open_shards(tmp_path)


def test_missing_shard_and_stale_index(tmp_path: Path) -> None:
    path = write_model(tmp_path, TENSORS, shards=2)
    index = path / "model.safetensors.index.json"
    text = index.read_text()
    index.write_text(text.replace('"a.weight"', '"z.weight"'))
    with pytest.raises(CheckpointError, match=r"no tensor `z\.weight`, which .*index\.json places"):
        open_shards(path)
    del (wanted := json.loads(text))["weight_map"]["a.weight"]
    index.write_text(json.dumps(wanted))
    assert set(open_shards(path).tensors) == set(TENSORS) - {"a.weight"}  # a stray tensor
    index.write_text(text)
    (path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="1 of 2 weight files are missing: model-00002"):
        open_shards(path)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "../b"}}', '{"weight_map": {"a": 4}}',
     '{"weight_map": {"a": [4]}}', '{"weight_map": {"a": ""}}'],
)  # fmt: skip
def test_index_that_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"index\.json"):
        open_shards(tmp_path)


def test_preference_follows_transformers(tmp_path: Path) -> None:
    path = write_model(tmp_path, TENSORS, shards=2)
    assert weight_files(path)[1][0].name.startswith("model-00001")
    write_model(path, TENSORS)
    assert weight_files(path) == (None, (path / "model.safetensors",))
    lone = tmp_path / "lone"
    lone.mkdir()
    os.link(path / "model.safetensors", lone / "gptq_model-4bit.safetensors")
    assert weight_files(lone) == (None, (lone / "gptq_model-4bit.safetensors",))
    os.link(path / "model.safetensors", lone / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"2 safetensors files .* and no index"):
        weight_files(lone)


def test_sizes_that_contradict_the_shape(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]}
    header = json.dumps({"a": entry}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(12)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expected 16 bytes for F32 \[2, 2\], got 12"):
        open_shards(tmp_path)


def test_metadata_of_a_header(tmp_path: Path) -> None:
    path = write_model(tmp_path, TENSORS, metadata={"format": "pt", "note": "x"})
    assert file_metadata(path / "model.safetensors") == {"format": "pt", "note": "x"}
    bare = write_model(tmp_path / "bare", TENSORS)
    assert file_metadata(bare / "model.safetensors") == {}


@pytest.mark.parametrize("shards", [1, 3])
def test_names_are_mentioned_without_opening(shards: int, tmp_path: Path) -> None:
    path = write_model(tmp_path, TENSORS, shards=shards)
    assert mentions(path, '.qweight"')
    assert not mentions(path, '.W_q"')
    for file in path.glob("*.safetensors*"):
        file.write_bytes(b"\xff" * 4)
    assert not mentions(path, '.qweight"')
    assert not mentions(tmp_path / "nothing", '.qweight"')


def test_bytes_of_a_small_tensor(tmp_path: Path) -> None:
    opened = open_shards(write_model(tmp_path, TENSORS, shards=2))
    assert opened.read_bytes("d.scalar") == (7).to_bytes(8, "little")
    assert opened.read_integers("c.qweight") == list(range(-3, 9))
