"""One step of `gpu.sh`: what a card computes, and how fast.

    python benchmarks/gpu.py STEP [--device cuda] [--out gpu.jsonl] [--tiny]

versions   the card, the libraries
copies     a copy of the bundled model loses nothing; float32 is the CPU's
attention  error against float64 by kind of mask, of the packed forward's attention
reading    tokens/s of bodies, share of the bf16 peak, peak memory, by tokens in a forward; kernels
           that were launched, and the share of the time in which one ran
heads      seconds of comparing two models over a large vocabulary, by size of the blocks, against
           the time that reading the two heads once takes
writing    tokens/s of greedy and sampled texts, and whether they are the same texts again
loading    GB/s of dense, GPTQ and AWQ weights into the CPU's memory and onto the card; of a copy
plan       what `--plan` says of the card's memory, and that a full card is an error of one line
several    where there are two cards: one model over both has the states of one

Weights are random where sizes matter (Qwen2-0.5B's shape; `--tiny` is for going through it on a
CPU). Aims: reading at 60% of the bf16 peak; heads within twice the time of their bytes.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import random_models
from bitloss.engines import token_scores
from bitloss.engines.dense.attention import repeated_attention
from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import arithmetic
from bitloss.engines.dense.prefix_tree.partial_attention import attend
from bitloss.engines.dense.scoring.head import Head, load_head
from bitloss.engines.dense.scoring.heads import StateLogits
from bitloss.engines.devices import describe, is_cuda, reports_full_memory, total_memory
from bitloss.engines.evaluate import evaluate, make_scorer
from bitloss.engines.values import Candidate, Model, Setup
from bitloss.errors import BitlossError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.requests import Decoding, GenerateRequest
from bitloss.runner import RunStore
from bitloss.types import SilentProgress, Window

ROOT = Path(__file__).resolve().parents[1]
POCKET = ROOT / "src" / "bitloss" / "models" / "pocket"
TINY = random_models.QWEN2_HALF_B | {
    "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 4096,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip

Row = dict[str, Any]


def versions(device: str, tiny: bool) -> Iterator[Row]:
    import transformers

    yield {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    found = subprocess.run(
        [sys.executable, "-m", "bitloss", "doctor", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    says = json.loads(found.stdout) if found.stdout else []
    yield {
        "doctor": found.returncode,
        "not ok": [one["name"] for one in says if one["status"] != "ok"],
        "gpu": [one["found"] for one in says if one["name"] == "gpu"],
        "errors": found.stderr[-300:],
    }


def copies(device: str, tiny: bool) -> Iterator[Row]:
    model = _pocket()
    windows = _windows(8, 257, int(model.identity.config["vocab_size"]))
    for precision in ("fp32", "mixed", "bf16"):
        records = _scored(model, windows, device, precision)
        yield {"precision": precision, "largest KLD of a copy": float(records.kl_divergence.max())}
    own, cpu = (_scored(model, windows, place, "fp32") for place in (device, "cpu"))
    yield {"largest difference of NLL from the CPU": float(np.abs(own.nll - cpu.nll).max())}


def attention(device: str, tiny: bool) -> Iterator[Row]:
    n = 64 if tiny else 1024
    for dtype in (torch.float32, torch.bfloat16):
        for kind in ("all", "causal", "mask"):
            for key_heads in (14, 2):
                shapes = ((14, n), (key_heads, n), (key_heads, n))
                query, key, value = (torch.randn(1, *s, 64).to(device, dtype) for s in shapes)
                mask = torch.full((n, n), -torch.inf).triu(1).to(device) if kind == "mask" else None
                run = partial(
                    attend, query, key, value, scale=0.125, causal=kind == "causal", mask=mask
                )
                out, _ = run()
                exact = _definition(query, key, value, masked=kind != "all")
                error = (out.double() - exact).abs().mean() / exact.abs().mean()
                seconds = _best(run, device)
                yield {
                    "dtype": str(dtype), "mask": kind, "key heads": key_heads,
                    "relative error": float(error), "seconds": seconds,
                }  # fmt: skip
    # What float32 models use on a card, against the kernel that is told which heads share keys.
    query, key, value = (torch.randn(1, heads, n, 64, device=device) for heads in (14, 2, 2))
    kernel = torch.nn.functional.scaled_dot_product_attention
    told = partial(kernel, query, key, value, is_causal=True, enable_gqa=True)
    repeated = partial(repeated_attention, torch.nn.Identity(), query, key, value, None)
    yield {"fp32, 2 key heads": "told", "seconds": _best(told, device)}
    yield {"fp32, 2 key heads": "repeated", "seconds": _best(repeated, device)}


def reading(device: str, tiny: bool) -> Iterator[Row]:
    peak = _peak(device, tiny)
    yield {"bf16 products, TFLOP/s": peak / 1e12}
    graph, _ = _half_b(device, tiny, "bf16")
    linear = sum(p.numel() for p in graph.body.parameters() if p.ndim == 2)
    linear -= graph.body.get_input_embeddings().weight.numel()
    windows = _windows(2 if tiny else 64, 129 if tiny else 1025, 4096)
    tokens = sum(len(one.ids) - 1 for one in windows)
    for batch in (256,) if tiny else (2048, 8192, 16384):
        if is_cuda(device):
            torch.cuda.reset_peak_memory_stats()
        seconds = _best(lambda: list(hidden_states(graph, windows, batch)), device)  # noqa: B023
        yield {
            "tokens in a forward": batch,
            "tokens/s": tokens / seconds,
            "share of the peak": 2.0 * linear * tokens / seconds / peak,
            "peak memory, GB": torch.cuda.max_memory_allocated() / 1e9 if is_cuda(device) else None,
            **_launches(lambda: list(hidden_states(graph, windows, batch))),  # noqa: B023
        }


def heads(device: str, tiny: bool) -> Iterator[Row]:
    vocabulary, width, n = (4096, 128, 256) if tiny else (151_936, 896, 16_384)
    weight = torch.randn(vocabulary, width, device=device).div_(width**0.5).bfloat16()
    head = Head(weight, "bf16")
    states = torch.randn(n, width, device=device).bfloat16()
    targets = torch.randint(0, vocabulary, (n,), device=device)
    copy = StateLogits(head, states.roll(1, 0))
    read = _best(lambda: weight.clone(), device) / 2  # a clone reads and writes
    known = token_scores._blocks
    for positions, columns in ((256, 2048), (2048, 8192), (2048, 32768), (8192, 32768)):
        chosen = token_scores._Blocks(positions, columns, positions * vocabulary)
        token_scores._blocks = lambda device, chosen=chosen: chosen
        seconds = _best(
            lambda: token_scores.score_positions(targets, StateLogits(head, states), [copy]), device
        )
        token_scores._blocks = known
        yield {
            "positions": positions, "columns": columns, "positions/s": n / seconds,
            "seconds": seconds, "seconds of reading a head": read,
        }  # fmt: skip


def writing(device: str, tiny: bool) -> Iterator[Row]:
    graph, head = _half_b(device, tiny, "bf16")
    count, length = (8, 8) if tiny else (256, 128)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(3, 4000, 64).astype(np.int32) for _ in range(count)]
    for temperature, rows in ((0.0, count), (1.0, count // 4)):
        decoding = Decoding(length, temperature=temperature)
        requests = [GenerateRequest(ids, decoding, n) for n, ids in enumerate(prompts[:rows])]
        texts: list[Any] = []

        def write() -> None:
            found = generate(graph, head, requests, decode=str, eos_ids=(), context=4096)  # noqa: B023
            texts.append(dict(found))  # noqa: B023

        seconds = _best(write, device, times=2)
        yield {
            "rows": rows,
            "temperature": temperature,
            "tokens/s": rows * length / seconds,
            "texts are the first ones": sum(texts[-1][n] == texts[0][n] for n in range(rows)),
        }


def loading(device: str, tiny: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        reference = _dense(Path(folder) / "dense", tiny)
        paths = [reference] + [
            random_models.packed(reference, Path(folder) / name, method=name, bits=4)
            for name in ("gptq", "awq")
        ]
        for path in paths:
            checkpoint = open_checkpoint(path)
            graph = ModelGraph(dict(checkpoint.config), precision="bf16", device=device)
            seconds = _best(lambda: graph.load(checkpoint), device, times=2)  # noqa: B023
            size = sum(p.nbytes for p in graph.body.parameters())
            apart = ModelGraph(dict(checkpoint.config), precision="bf16", device="cpu")
            decoded = _best(lambda: apart.load(checkpoint), device, times=1)  # noqa: B023
            yield {
                "weights": path.name,
                "GB/s of bf16": size / 1e9 / seconds,
                "GB/s without the card": size / 1e9 / decoded,
            }
    ours = torch.empty(1 << (20 if tiny else 29), dtype=torch.bfloat16)
    seconds = _best(lambda: ours.to(device, copy=True), device)
    yield {"copy of memory as it is, GB/s": ours.nbytes / 1e9 / seconds}


def plan(device: str, tiny: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text("The quick brown fox jumps over the lazy dog. " * 200)
        words = ["compare", "pocket", "gguf-q8_0", "--corpus", str(text), "--device", device]
        found = subprocess.run(
            [sys.executable, "-m", "bitloss", *words, "--out", f"{folder}/run", "--plan"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    lines = [line for line in found.stdout.splitlines() if line.startswith("memory")]
    yield {"exit code": found.returncode, "memory": lines[0] if lines else found.stderr[-300:]}
    if is_cuda(device):
        try:
            with reports_full_memory("the model", device):
                torch.empty(2 * total_memory(device), dtype=torch.uint8, device=device)
        except BitlossError as error:
            yield {"a full card": error.message}


def several(device: str, tiny: bool) -> Iterator[Row]:
    count = torch.cuda.device_count() if is_cuda(device) else 2
    devices = [f"{device.partition(':')[0]}:{n}" for n in range(2)]
    if count < 2:
        yield {"cards": count}
        return
    windows = _windows(8, 65, 4096)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = open_checkpoint(_dense(Path(folder) / "dense", tiny))
        states = []
        for rooms in ({}, dict.fromkeys(devices, checkpoint.info.parameters * 3 // 2)):
            graph = ModelGraph(
                dict(checkpoint.config), precision="bf16", device=devices[0], rooms=rooms
            )
            graph.load(checkpoint)
            states.append(torch.cat(list(hidden_states(graph, windows, 2048))))
    yield {
        "cards": count,
        "devices of the layers": len(graph.devices),
        "states are equal": torch.equal(*states),
    }


STEPS: dict[str, Callable[[str, bool], Iterator[Row]]] = {
    step.__name__: step
    for step in (versions, copies, attention, reading, heads, writing, loading, plan, several)
}


def _pocket() -> Model:
    checkpoint = open_checkpoint(POCKET)
    return Model("pocket", identify(checkpoint), checkpoint, POCKET)


def _windows(count: int, length: int, vocabulary: int) -> list[Window]:
    rng = np.random.default_rng(1)
    return [Window(rng.integers(3, vocabulary, length).astype(np.int32), 1) for _ in range(count)]


def _scored(model: Model, windows: list[Window], device: str, precision: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder))
        reference = Candidate(model, arithmetic=precision, device=device)
        scorer = make_scorer(Setup(store, reference, SilentProgress()), "dense")
        copy = replace(reference, model=replace(model, name="copy"))
        found = evaluate(scorer, scorer.pieces(windows), [copy])
        return store.read_token_records(found.records_of(copy))


def _definition(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, masked: bool
) -> torch.Tensor:
    shared = query.shape[1] // key.shape[1]
    query, key, value = (part.double() for part in (query, key, value))
    key, value = (part.repeat_interleave(shared, dim=1) for part in (key, value))
    products = query @ key.transpose(-1, -2) * 0.125
    if masked:
        products += torch.full(products.shape[-2:], -torch.inf).triu(1).to(products)
    return products.softmax(-1) @ value


def _dense(folder: Path, tiny: bool) -> Path:
    tokenizer = folder.parent / "tokenizer"
    tokenizer.mkdir()
    for path in POCKET.glob("tokenizer*"):
        shutil.copyfile(path, tokenizer / path.name)
    return random_models.dense(folder, tokenizer, TINY if tiny else random_models.QWEN2_HALF_B)


def _half_b(device: str, tiny: bool, precision: Any) -> tuple[ModelGraph, Head]:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = open_checkpoint(_dense(Path(folder) / "dense", tiny))
        graph = ModelGraph(dict(checkpoint.config), precision=precision, device=device)
        graph.load(checkpoint)
        return graph, load_head(checkpoint, precision=precision, device=device)


def _peak(device: str, tiny: bool) -> float:
    n = 512 if tiny else 8192
    left, right = (torch.randn(n, n, device=device).bfloat16() for _ in range(2))
    with arithmetic("bf16"):
        return 2.0 * n**3 / _best(lambda: left @ right, device, times=5)


def _launches(work: Callable[[], object]) -> Row:
    """Kernels of a call, and the share of its time in which one ran; nothing on a CPU."""
    start = time.perf_counter()
    with torch.profiler.profile() as profile:
        work()
    seconds = time.perf_counter() - start
    kernels = [one for one in profile.events() if one.device_type.name == "CUDA"]
    busy = sum(one.device_time_total for one in kernels) / 1e6
    return {"kernels": len(kernels), "busy": busy / seconds}


def _best(work: Callable[[], object], device: str, times: int = 3) -> float:
    work()  # warm
    least = float("inf")
    for _ in range(times):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        least = min(least, time.perf_counter() - start)
    return least


def _wait(device: str) -> None:
    if is_cuda(device):
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    with torch.no_grad(), arguments.out.open("a") as file:
        for row in STEPS[arguments.step](arguments.device, arguments.tiny):
            line = json.dumps({"step": arguments.step, "card": describe(arguments.device), **row})
            print(line)
            file.write(f"{line}\n")
            file.flush()


if __name__ == "__main__":
    main()
