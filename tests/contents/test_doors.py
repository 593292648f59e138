"""A file given where another kind is expected is named; the bytes' own writers are the oracle."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bitloss.checks.rules import read_thresholds
from bitloss.datasets import load_corpus
from bitloss.datasets.snapshots import file_rows
from bitloss.datasets.tables import read_csv, read_jsonl
from bitloss.errors import BitlossError
from bitloss.expectations import load_expectations
from bitloss.formats import open_checkpoint
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.suites import load_suite
from bitloss.tasks.find import resolve_task
from peers.checkpoints import write_model

ENGLISH = "name: x\nThe quick brown fox jumps over the lazy dog.\n" * 20
CHINESE = "下列关于税法基本原则的表述中，不正确的是税收法定原则。\n" * 20


def _arrow(stream: bool) -> bytes:
    table = pa.table({"text": ["a b c"] * 3})
    sink = io.BytesIO()
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a b c"] * 3}), sink)
    return sink.getvalue()


def _zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a.txt", "hello")
    return sink.getvalue()


def _safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


KINDS = {
    "gzip-compressed data": gzip.compress(ENGLISH.encode()),
    "UTF-16": ENGLISH.encode("utf-16"),
    "UTF-16 without a byte order mark": ENGLISH.encode("utf-16-le"),
    "GBK/GB18030": CHINESE.encode("gbk"),
    "an Arrow file": _arrow(False),
    "an Arrow stream": _arrow(True),
    "a Parquet file": _parquet(),
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n",
    "a ZIP archive": _zip(),
    "a safetensors file": _safetensors(),
    "a GGUF model": b"GGUF" + bytes(200),
    "a web page (HTML)": b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n",
}


def _beside(folder: Path, name: str, data: bytes) -> Path:
    """A model's directory, one of whose files is another."""
    path = write_model(folder, {"model.norm.weight": torch.ones(4)})
    (path / "tokenizer.json").write_text("{}")
    (path / name).write_bytes(data)
    return path


def _task(folder: Path, data: Path) -> Path:
    path = folder / "task.yaml"
    path.write_text(
        f'name: t\ncapability: logic\ndata: {data}\nprompt: "{{q}}"\nexact_match: {{gold: a}}\n'
    )
    return path


def _tools(folder: Path, data: Path) -> Path:
    path = folder / "task.yaml"
    path.write_text(
        "name: t\ncapability: logic\nitems: [{q: x, t: y}]\nprompt: x\n"
        f"tool_call: {{tools: {data}, tool: t}}\n"
    )
    return path


# What the file is called, what it is given to, and kinds that are right there.
DOORS: dict[str, tuple[str, Callable[[Path], object], set[str]]] = {
    "text": ("x.txt", lambda p: load_corpus(str(p), data=None), {"a web page (HTML)"}),
    "csv": ("x.csv", lambda p: load_corpus(str(p), data=None), set()),
    "jsonl": ("x.jsonl", lambda p: load_corpus(str(p), data=None), set()),
    "json": ("x.json", lambda p: load_corpus(str(p), data=None), set()),
    "parquet": ("x.parquet", lambda p: load_corpus(str(p), data=None), {"a Parquet file"}),
    "arrow": ("x.arrow", lambda p: load_corpus(str(p), data=None),
              {"an Arrow file", "an Arrow stream"}),
    "gz": ("x.txt.gz", lambda p: load_corpus(str(p), data=None), {"gzip-compressed data"}),
    "rows of csv": ("x.csv", lambda p: read_csv(p, (), header=True), set()),
    "rows of jsonl": ("x.jsonl", lambda p: read_jsonl(p, ()), set()),
    "rows of json": ("x.json", file_rows, set()),
    "rows of parquet": ("x.parquet", file_rows, {"a Parquet file"}),
    "rows of arrow": ("x.arrow", file_rows, {"an Arrow file", "an Arrow stream"}),
    "task": ("x.yaml", lambda p: resolve_task(str(p)), set()),
    "bare task": ("x.jsonl", lambda p: resolve_task(str(p)), set()),
    "a task's data": ("x.csv", lambda p: resolve_task(str(_task(p.parent, p))), set()),
    "a task's tools": ("x.json", lambda p: resolve_task(str(_tools(p.parent, p))), set()),
    "suite": ("x.yaml", lambda p: load_suite(str(p)), set()),
    "expectations": ("x.yaml", load_expectations, set()),
    "thresholds": ("x.yaml", read_thresholds, set()),
    "model": ("x.bin", open_checkpoint, {"a GGUF model"}),
    "gguf": ("x.gguf", open_checkpoint, {"a GGUF model"}),
    "config": ("config.json", lambda p: open_checkpoint(
        _beside(p.parent / "m", p.name, p.read_bytes())), set()),
    "weights": ("model.safetensors", lambda p: open_checkpoint(
        _beside(p.parent / "m", p.name, p.read_bytes())), {"a safetensors file"}),
    "tokenizer": ("tokenizer.json", lambda p: load_tokenizer(
        _beside(p.parent / "m", p.name, p.read_bytes())), set()),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_named(door: str, kind: str, tmp_path: Path) -> None:
    name, read, right = DOORS[door]
    if kind in right:
        return
    path = tmp_path / name
    path.write_bytes(KINDS[kind])
    with pytest.raises(BitlossError) as caught:
        read(path)
    assert f"got {kind}" in caught.value.message
    assert str(path.name) in caught.value.message
    hint = caught.value.hint
    assert "latin" not in hint.lower()
    # Only a text is converted, only from the encoding that it is in, and only where text is read.
    assert ("iconv" in hint) == (
        kind in ("UTF-16", "UTF-16 without a byte order mark", "GBK/GB18030")
        and door not in ("gz", "parquet", "arrow", "rows of parquet", "rows of arrow", "model",
                         "gguf", "weights")
    )  # fmt: skip
    if "iconv" in hint:
        codec = hint.partition("iconv -f ")[2].partition(" ")[0]
        assert KINDS[kind].decode(codec) in (ENGLISH, CHINESE)


def _adapter(folder: Path) -> Path:
    config = {"peft_type": "LORA", "base_model_name_or_path": "some/llama", "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(_safetensors())
    return folder


def _cache(folder: Path) -> Path:
    for kind in ("models", "datasets"):
        (folder / f"{kind}--some--thing" / "snapshots" / "0a1b").mkdir(parents=True)
    return folder


def _repository(folder: Path) -> Path:
    return _cache(folder) / "models--some--thing"


FOLDERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a LoRA adapter of the model `some/llama`": (_adapter, "merge it into its model first"),
    "a hub's cache": (_cache, "name the model, for example some/thing, or give the folder"),
    "a model's folder in a hub's cache": (_repository, "/snapshots/0a1b`"),
}


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize(
    ("read", "model"),
    [
        (open_checkpoint, True),
        (lambda p: load_corpus(str(p), data=None), False),
        (lambda p: resolve_task(str(p)), False),
        (lambda p: load_suite(str(p)), False),
        (read_thresholds, False),
        (load_expectations, False),
    ],
)
def test_a_folder_of_another_kind_is_named(
    kind: str, read: Callable[[Path], object], model: bool, tmp_path: Path
) -> None:
    make, cure = FOLDERS[kind]
    with pytest.raises(BitlossError) as caught:
        read(make(tmp_path))
    assert f"got {kind}" in caught.value.message
    if model:
        assert cure in caught.value.hint


UNSURE = "iconv -f ENCODING -t UTF-8"


@pytest.mark.parametrize(
    ("text", "codec", "advice"),
    [
        # Two bytes may be a character of several encodings.
        ("name: 国", "gbk", UNSURE),
        ("한국", "euc-kr", UNSURE),
        # In none of these is Latin-1 right, although every byte is a character of it.
        ("Zażółć gęślą jaźń, wilgotność powietrza", "iso-8859-2", UNSURE),
        ("Ελληνικά κείμενα είναι", "iso-8859-7", UNSURE),
        ("naïve", "mac_roman", UNSURE),
        ("сегодня хорошая погода и мы пошли гулять", "koi8-r", "iconv -f KOI8-R"),
        ("Сегодня хорошая погода, и мы пошли гулять", "cp1251", "iconv -f WINDOWS-1251"),
        ("Le café est fermé, élève", "latin-1", "iconv -f ISO-8859-1"),
    ],
)
def test_no_advice_that_makes_other_characters(
    text: str, codec: str, advice: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(text.encode(codec))
    with pytest.raises(BitlossError) as caught:
        load_corpus(str(path), data=None)
    assert advice in caught.value.hint
    if advice != UNSURE:
        named = caught.value.hint.partition("iconv -f ")[2].partition(" ")[0]
        assert path.read_bytes().decode(named) == text
        assert "read the result before you use it" in caught.value.hint
