"""Small valid files of every kind that bitloss reads, made on the spot."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from pathlib import Path

from peers.gguf_file import write_llama
from peers.tiny import byte_level_tokenizer, save_tiny

__all__ = ["RUN_WORDS", "TEXT", "make_seeds"]

TEXT = (
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the sun.\n"
    "A second line says the same thing in other words, so that windows differ.\n"
) * 3
_TASK = """\
name: letters
capability: math
data: rows.jsonl
prompt: "{question}"
choice:
  options: "{options}"
  gold: gold
  gold_as: index
shots:
  - {question: "What comes first?", options: [a, b], gold: 0}
"""
_SUITE = """\
name: small
description: a small one
corpora:
  - name: text.txt
    limit: 2
tasks:
  - name: task.yaml
    limit: 2
    shots: 1
"""
_EXPECTATIONS = """\
levels: {yes: 1.05, usually: 1.12, marginal: 1.2}
margins: {math: 0.03, default: 0.02}
formats:
  - {format: GPTQ, bits: 4, low: 1.02, high: 1.1, level: usually, source: me}
"""
_THRESHOLDS = """\
max_relative_perplexity: 1.5
max_kld: {all: 2, math: 3}
max_loss: 50%
variants:
  ./noisy:
    max_kld: 5
"""
_CARD = """\
---
license: mit
tags: [a, b]
model-index:
  - name: x
    results: []
---
# A model
"""
RUN_WORDS = (
    "compare", "./model", "./noisy", "--corpus", "./text.txt", "--tasks", "./task.yaml",
    "--max-length", "64", "--stride", "64", "--out", "run", "-q", "--no-report",
)  # fmt: skip
"""The command that made the run; paths are relative to the folder of seeds."""


def make_seeds(folder: Path) -> None:
    """Write them: models, a GGUF file, a tokenizer, texts, tables, YAML files and a run's."""
    save_tiny(folder / "model", "llama")
    save_tiny(folder / "gpt2", "gpt2")
    noisy = save_tiny(folder / "noisy", "llama")
    for value in noisy.parameters():
        value.data *= 1.05
    noisy.save_pretrained(folder / "noisy")
    # llama.cpp has one token for each row of the embedding.
    tokens = byte_level_tokenizer().get_vocab_size()
    save_tiny(folder / "dense", "llama", vocab_size=tokens)
    write_llama(folder / "dense", folder / "model.gguf", add_bos=False)
    _write_texts(folder)
    for name, text in (
        ("task.yaml", _TASK), ("suite.yaml", _SUITE), ("expectations.yaml", _EXPECTATIONS),
        ("thresholds.yaml", _THRESHOLDS), ("README.md", _CARD),
    ):  # fmt: skip
        (folder / name).write_text(text)


def _write_texts(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "text.txt").write_text(TEXT)
    (folder / "text.txt.gz").write_bytes(gzip.compress(TEXT.encode(), mtime=0))
    rows = [{"question": f"What is {n} + 1?", "options": [str(n), str(n + 1)], "gold": n % 2,
             "answer": str(n + 1)} for n in range(6)]  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines)
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        writer.writerows([row["question"], row["answer"]] for row in rows)
    texts = [line for line in TEXT.splitlines() if line]
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    (folder / "corpus.json").write_text(json.dumps([{"text": text} for text in texts]))
    (folder / "corpus.csv").write_text("id,text\n" + "".join(f'1,"{t}"\n' for t in texts))
    table = pa.table({"id": list(range(len(texts))), "text": texts})
    pq.write_table(table, folder / "corpus.parquet")
    with (
        pa.OSFile(str(folder / "corpus.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as stream,
    ):
        stream.write_table(table)


def copy_model(seeds: Path, folder: Path, name: str = "model") -> Path:
    """A copy of a model to be broken."""
    shutil.copytree(seeds / name, folder / "broken")
    return folder / "broken"
