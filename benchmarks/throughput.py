"""How much of the machine does scoring use, and how much memory?

    python benchmarks/throughput.py [--rounds N] [--windows N] [--models DIR]

From one run, interleaved, medians: scoring a reference and seven variants (read text with every
model, then all heads at once: NLL, KL divergence and the rest) against the sum of bare
`model(ids).logits` forwards of the same batches; and against the time that the products alone
would take at the peak measured here, in the same rounds. The heads once more with all threads at
one chunk of positions, instead of each at its own. With `--profile`, where the time goes. Weights
are random (0.5 B parameters, Qwen2's shape).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import random_models
from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.memory import reuse_freed_memory
from bitloss.engines.dense.scoring.head import Head, load_head
from bitloss.engines.dense.scoring.heads import StateLogits, score_states
from bitloss.engines.values import scored_tokens
from bitloss.formats import open_checkpoint
from bitloss.types import Window

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = 7
LENGTH = 1024


def main() -> None:
    arguments = _parse()
    if not arguments.system_malloc:
        reuse_freed_memory()
    path = random_models.dense(arguments.models / "qwen2-0.5b", arguments.tokenizer)
    checkpoint = open_checkpoint(path)
    graph = ModelGraph(checkpoint.config, precision="bf16", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="bf16", device="cpu")
    bare = _bare_model(path)
    rng = np.random.default_rng(0)
    windows = [
        Window(rng.integers(0, 150_000, LENGTH + 1).astype(np.int32), 1)
        for _ in range(arguments.windows)
    ]
    config = checkpoint.config
    linear = sum(p.numel() for n, p in graph.body.named_parameters() if "embed" not in n)
    products = _products(config, linear, sum(len(w.ids) - 1 for w in windows))
    times: dict[str, list[float]] = {"peak": [], "bodies": [], "heads": [], "one": [], "bare": []}
    batch = arguments.batch_tokens
    for _ in range(arguments.rounds):
        times["peak"].append(_peak())
        start = time.perf_counter()
        states = torch.cat(list(hidden_states(graph, windows, batch)))
        times["bodies"].append(time.perf_counter() - start)
        times["heads"].append(_timed(lambda: _heads(windows, head, states)))  # noqa: B023
        one = partial(_heads, windows, head, states, roomy=False)
        times["one"].append(_timed(one))
        times["bare"].append(_timed(lambda: _forwards(bare, windows, batch)))
    _print(times, products)
    if arguments.profile:
        _profile(lambda: list(hidden_states(graph, windows, batch)))
        _profile(lambda: _heads(windows, head, states))


def _heads(windows: list[Window], head: Head, states: torch.Tensor, *, roomy: bool = True) -> None:
    """The heads of the reference and of seven variants with other states, as in a run."""
    tokens = torch.from_numpy(scored_tokens(windows).astype(np.int64))
    variants = [StateLogits(head, states.roll(n + 1, 0)) for n in range(VARIANTS)]
    score_states(tokens, StateLogits(head, states), variants, roomy=roomy)


@torch.inference_mode()
def _forwards(model: Any, windows: list[Window], batch_tokens: int) -> None:
    count = max(1, batch_tokens // LENGTH)
    for at in range(0, len(windows), count):
        ids = np.stack([w.ids[:-1] for w in windows[at : at + count]])
        _ = model(torch.from_numpy(ids.astype(np.int64))).logits


def _bare_model(path: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()


def _products(config: dict[str, Any], linear: int, tokens: int) -> float:
    """Operations of a model's own products on the text: linear layers, attention and head."""
    attention = config["num_hidden_layers"] * LENGTH * config["hidden_size"]  # causal: half of 2
    head = config["vocab_size"] * config["hidden_size"]
    return 2.0 * tokens * (linear + attention + head)


def _peak() -> float:
    """Median speed of the products of the model's largest layer, operations a second."""
    left = torch.randn(2048, 896).bfloat16()
    right = torch.randn(4864, 896).bfloat16()
    seconds = [_timed(lambda: torch.nn.functional.linear(left, right)) for _ in range(30)]
    return 2.0 * 2048 * 896 * 4864 / statistics.median(seconds[5:])


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _print(times: dict[str, list[float]], products: float) -> None:
    middle = {name: statistics.median(values) for name, values in times.items()}
    models = 1 + VARIANTS
    ours = models * middle["bodies"] + middle["heads"]
    ideal = models * products / middle["peak"]
    print(f"bf16 products of the largest layer     {middle['peak'] / 1e9:8.0f} GFLOP/s")
    print(f"reading the text, one model            {middle['bodies']:8.2f} s")
    print(f"heads of {models} models, all metrics        {middle['heads']:8.2f} s")
    print(f"the same, one chunk at a time          {middle['one']:8.2f} s")
    print(f"bare model(ids).logits, one model      {middle['bare']:8.2f} s")
    print(f"scoring / bare forwards ({models} models)     {ours / (models * middle['bare']):8.2f}")
    print(f"products at their peak / scoring       {ideal / ours:8.2f}")


def _profile(work: Callable[[], object]) -> None:
    with torch.profiler.profile() as profile:
        work()
    table = profile.key_averages().table(
        sort_by="self_cpu_time_total", row_limit=14, max_name_column_width=44
    )
    print("\n".join(line[:120] for line in table.splitlines()))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    shared = ROOT.parent / "shared"
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--tokenizer", type=Path, default=shared / "tokenizers" / "qwen2")
    parser.add_argument("--models", type=Path, default=ROOT / ".cache" / "models")
    parser.add_argument("--system-malloc", action="store_true", help="leave malloc as it is")
    parser.add_argument("--profile", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
