"""What reading a model a layer at a time costs, and how little memory it takes.

    python benchmarks/streaming.py --models DIR [--tokenizer DIR] [--size half|3b] [--windows 8]

A random model of Qwen2.5's shape (0.5 or 3 billion parameters) and a GPTQ and an AWQ copy of it are
made in DIR, once. `bitloss compare` is run on them as a whole and with `--memory`, each in a
process of its own, in turns. Prints seconds and peak memory (largest resident set of the process,
looked at ten times a second, Python and libraries included), their ratios, the share of the dense
weights, and whether the records have the same bytes. Aims: a quarter of the dense weights, twice
the time.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

import random_models
from sampling import sampled

ROOT = Path(__file__).resolve().parents[1]
THREE_B = random_models.QWEN2_HALF_B | {
    "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
    "num_attention_heads": 16, "num_key_value_heads": 2,
}  # fmt: skip
SIZES = {"half": random_models.QWEN2_HALF_B, "3b": THREE_B}
WORDS = "the model reads a text of plain words and says how likely each of them was "


@dataclass(frozen=True)
class Run:
    """What one comparison took, and what it left."""

    seconds: float
    peak: int
    records: dict[str, bytes]


def compare(models: list[Path], text: Path, windows: int, memory: str | None) -> Run:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = [
            "compare", *map(str, models), "--corpus", str(text), "--max-length", "512",
            "--stride", "512", "--limit", str(windows), "--dtype", "bf16", "--no-report", "-q",
            "--out", str(out), *(("--memory", memory) if memory else ()),
        ]  # fmt: skip
        start = time.perf_counter()
        process = psutil.Popen([sys.executable, "-m", "bitloss", *words])
        held: list[int] = []

        def look() -> None:
            with contextlib.suppress(psutil.Error):
                held.append(process.memory_info().rss)

        # The system's own maximum of a child begins with what its parent holds.
        with sampled(look, 0.1):
            status = process.wait()
        seconds = time.perf_counter() - start
        if status:
            raise SystemExit(f"bitloss ended with status {status}")
        records = {one.name: one.read_bytes() for one in (out / "records").iterdir()}
    return Run(seconds, max(held), records)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=ROOT.parent / "shared/tokenizers/qwen2")
    parser.add_argument("--size", choices=SIZES, default="half")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--memory", help="a fifth of the dense weights, if not given")
    arguments = parser.parse_args()
    name = arguments.models / arguments.size
    reference = random_models.dense(name / "dense", arguments.tokenizer, SIZES[arguments.size])
    models = [reference]
    for method in ("gptq", "awq"):
        path = random_models.packed(reference, name / method, method=method, bits=4)
        for file in arguments.tokenizer.iterdir():
            if file.name != "config.json":
                shutil.copyfile(file, path / file.name)
        models.append(path)
    dense = (reference / "model.safetensors").stat().st_size
    memory = arguments.memory or f"{dense // 5}"
    text = name / "text.txt"
    text.write_text(WORDS * 4000)
    whole: list[Run] = []
    streamed: list[Run] = []
    for _ in range(arguments.rounds):
        whole.append(compare(models, text, arguments.windows, None))
        streamed.append(compare(models, text, arguments.windows, memory))
    print(f"dense weights {dense / 1e9:.2f} GB in bf16; --memory {int(memory) / 1e9:.2f} GB")
    for label, runs in (("as a whole", whole), ("a layer at a time", streamed)):
        seconds = statistics.median(run.seconds for run in runs)
        peak = max(run.peak for run in runs)
        print(f"{label:18} {seconds:8.1f} s   peak {peak / 1e9:6.2f} GB   {peak / dense:5.2f}")
    ratio = statistics.median(s.seconds / w.seconds for s, w in zip(streamed, whole, strict=True))
    print(f"time {ratio:.2f}")
    pairs = [(s.records, w.records) for s, w in zip(streamed, whole, strict=True)]
    equal = all(ours.items() <= theirs.items() for ours, theirs in pairs)
    absent = len(pairs[0][1]) - len(pairs[0][0])
    print("records: the same bytes" if equal else "records: NOT the same bytes")
    print(
        f"left out: {absent} (the floor of bf16 that moves layers' outputs needs the whole model)"
    )


if __name__ == "__main__":
    main()
