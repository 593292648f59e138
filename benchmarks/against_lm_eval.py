"""How long does a comparison take beside lm-evaluation-harness, and how much memory?

    python benchmarks/against_lm_eval.py [--pages N] [--rounds N] [--models DIR]

One `bitloss compare` of a reference and seven variants (three packed, four GGUF made beforehand) on
the first pages of WikiText-2, against the harness's `wikitext` task (hf, bf16) on the same pages
and windows, once per model. The harness reads the dense reference each time, which spares it
seven formats; it is timed `--rounds` times, interleaved with bitloss, and counted eight times.
Whole processes, start and loading included; the harness gives perplexity alone, bitloss perplexity,
KL divergence, top-1 agreement and intervals. Also prints the peak memory of the comparison beside
the weights of two models. Weights are random (0.5 B parameters, Qwen2's shape).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import random_models
from bitloss.datasets import load_corpus

ROOT = Path(__file__).resolve().parents[1]
LENGTH = 1024
GGUF = ("gguf-q8_0", "gguf-q5_0", "gguf-q4_0", "gguf-q4_1")


def main() -> None:
    arguments = _parse()
    reference, variants = _models(arguments.models, arguments.tokenizer)
    interpreter = harness.python(arguments.environment)
    ours: list[float] = []
    theirs: list[float] = []
    peaks: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        text = harness.first_pages(arguments.data, arguments.pages, Path(folder))
        pages = load_corpus(str(text), data=None).documents
        for number in range(arguments.rounds):
            seconds, peak = _compare(reference, variants, text, Path(folder) / f"run-{number}")
            ours.append(seconds)
            peaks.append(peak)
            _, seconds = harness.wikitext(
                interpreter, reference, pages,
                model_args=f"dtype=bfloat16,max_length={LENGTH}", batch_size=2,
            )  # fmt: skip
            theirs.append(seconds)
    models = 1 + len(variants)
    mine, peer = statistics.median(ours), statistics.median(theirs)
    weights = (reference / "model.safetensors").stat().st_size
    print(f"bitloss compare, {models} models, perplexity and KLD   {mine:8.1f} s")
    print(f"lm_eval {harness.VERSION}, one model, perplexity        {peer:8.1f} s")
    print(f"lm_eval x {models} / bitloss                           {models * peer / mine:8.2f}")
    print(f"peak memory                                   {max(peaks) / 2**20:8.0f} MiB")
    print(f"1.3 x two models' weights + 300 MB            {(2.6 * weights + 3e8) / 2**20:8.0f} MiB")


def _models(folder: Path, tokenizer: Path) -> tuple[Path, list[Path]]:
    reference = random_models.dense(folder / "qwen2-0.5b", tokenizer)
    variants = [
        random_models.packed(
            reference, folder / f"qwen2-0.5b-{method}-{bits}", method=method, bits=bits
        )
        for method, bits in (("gptq", 8), ("gptq", 4), ("awq", 4))
    ]  # fmt: skip
    for recipe in GGUF:
        out = folder / f"qwen2-0.5b-{recipe}.gguf"
        if not out.exists():
            command = ["quantize", reference, out, "--recipe", recipe]
            subprocess.run([sys.executable, "-m", "bitloss", *map(str, command)], check=True)
        variants.append(out)
    return reference, variants


def _compare(reference: Path, variants: list[Path], text: Path, run: Path) -> tuple[float, int]:
    """Seconds and peak resident bytes of one comparison from nothing."""
    command = [
        sys.executable, "-m", "bitloss", "compare", reference, *variants, "--corpus", text,
        "--protocol", "lm-eval-wikitext", "--max-length", LENGTH, "--dtype", "bf16", "--out", run,
        "--quiet",
    ]  # fmt: skip
    start = time.perf_counter()
    worker = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(worker.pid, 0)
    seconds = time.perf_counter() - start
    worker.returncode = os.waitstatus_to_exitcode(status)
    if worker.returncode != 0:
        raise SystemExit(f"bitloss compare ended with {worker.returncode}")
    shutil.rmtree(run)
    return seconds, usage.ru_maxrss * 1024


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    shared = ROOT.parent / "shared"
    parser.add_argument("--pages", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=shared / "data")
    parser.add_argument("--tokenizer", type=Path, default=shared / "tokenizers" / "qwen2")
    parser.add_argument("--models", type=Path, default=ROOT / ".cache" / "models")
    parser.add_argument("--environment", type=Path, default=harness.ENVIRONMENT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
