"""How much does reading shared prefixes once save?

    python benchmarks/prefix_sharing.py [--task mmlu] [--subjects A,B] [--questions N] [--layers N]

Reads the questions of a task twice, interleaved: as a prefix tree, and flat, a sequence at a time
as plain harnesses do (equal sequences once). Prints for each subject the tokens that are saved,
the medians of both times, and how much of the saving in tokens is a saving of time: 100 % is where
a token costs the same both ways. Weights are random, of Qwen2-0.5B's shape, `--layers` of its 24.
With `--profile`, where the time goes. The build of all subjects' trees is timed alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import random_models
from bitloss.engines.dense.batches import hidden_states, shared_tree
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.memory import reuse_freed_memory
from bitloss.engines.dense.prefix_tree.forwards import plan_forwards
from bitloss.engines.dense.prefix_tree.tree import cut, grow
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.registry import TASKS, load
from bitloss.types import Window

ROOT = Path(__file__).resolve().parents[1]
SHARD_TOKENS = 16_384


def main() -> None:
    arguments = _parse()
    reuse_freed_memory()
    subjects = _subjects(arguments)
    everything = [window for windows in subjects.values() for window in windows]
    start = time.perf_counter()
    tree = grow(everything)
    parts = cut(everything, SHARD_TOKENS)
    print(
        f"{len(everything)} windows, {tree.read} tokens, {tree.tokens} of them unique, "
        f"{sum(grow(everything[a:b]).tokens for a, b in parts)} in {len(parts)} shards; "
        f"built twice in {time.perf_counter() - start:.2f} s"
    )
    graph = _graph(arguments)
    print(f"{'':32} {'read':>8} {'unique':>8} {'flat s':>8} {'tree s':>8} {'faster':>7} {'of':>6}")
    for name, every in subjects.items():
        windows = every[: arguments.questions]
        _measure(name, graph, windows, arguments)


def _measure(name: str, graph: ModelGraph, windows: list[Window], options: Any) -> None:
    batch = options.batch_tokens
    tree = shared_tree(windows, batch)
    if tree is None:
        print(f"{name[:32]:32} nothing is shared")
        return
    flat = list({w.ids[:-1].tobytes(): w for w in windows}.values())
    read = sum(len(w.ids) - 1 for w in flat)
    works: dict[str, Callable[[], object]] = {
        "flat": lambda: list(hidden_states(graph, flat, batch)),
        "tree": lambda: list(hidden_states(graph, windows, batch, share_prefixes=True)),
    }
    times: dict[str, list[float]] = {key: [] for key in works}
    for _ in range(options.rounds):
        for key, work in works.items():
            start = time.perf_counter()
            work()
            times[key].append(time.perf_counter() - start)
    flat_s, tree_s = (statistics.median(times[key]) for key in works)
    ratio = flat_s / tree_s
    print(
        f"{name[:32]:32} {read:8} {tree.tokens:8} {flat_s:8.2f} {tree_s:8.2f} {ratio:7.2f} "
        f"{ratio / (read / tree.tokens):6.0%}   {len(plan_forwards(tree, batch))} forwards, "
        f"{tree.tokens / tree_s:.0f} unique tokens/s"
    )
    if options.profile:
        _profile(works["tree"])


def _subjects(arguments: argparse.Namespace) -> dict[str, list[Window]]:
    """Windows by subject: each option of each question, as a run reads them."""
    tokenizer = load_tokenizer(arguments.tokenizer)
    wanted = [name for name in arguments.subjects.split(",") if name]
    found: dict[str, list[Window]] = {}

    def encode(text: str) -> Any:
        return tokenizer.encode(text, special=False)

    for document, item in enumerate(load("task", TASKS, arguments.task).load(arguments.data).items):
        if wanted and item.subject not in wanted:
            continue
        windows = found.setdefault(item.subject or arguments.task, [])
        if len(windows) >= arguments.questions:
            continue
        context = encode(item.prompt.text)
        for option in item.options:
            ids = np.concatenate([context, encode(item.delimiter + option)])
            windows.append(Window(ids, len(context), document))
    return found


def _graph(arguments: argparse.Namespace) -> ModelGraph:
    config = {**random_models.QWEN2_HALF_B, "num_hidden_layers": arguments.layers}
    graph = ModelGraph(config, precision=arguments.dtype, device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in graph.body.parameters():
            parameter.fill_(1.0) if parameter.ndim == 1 else parameter.normal_(0.0, 0.02)
    graph.loaded = "random"
    return graph


def _profile(work: Callable[[], object]) -> None:
    with torch.profiler.profile() as profile:
        work()
    events = profile.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    for name, share, calls in _largest(events, total):
        print(f"    {name[:60]:60} {share:6.1%} {calls:7} calls")


def _largest(events: Any, total: float) -> Iterator[tuple[str, float, int]]:
    for event in sorted(events, key=lambda event: -event.self_cpu_time_total)[:14]:
        yield event.key, event.self_cpu_time_total / total, event.count


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    shared = ROOT.parent / "shared"
    parser.add_argument("--task", default="mmlu")
    parser.add_argument(
        "--subjects", default="abstract_algebra,high_school_european_history", help="empty: all"
    )
    parser.add_argument("--questions", type=int, default=80, help="windows of a subject")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--dtype", default="bf16", choices=("fp32", "mixed", "bf16"))
    parser.add_argument("--data", type=Path, default=shared / "data")
    parser.add_argument("--tokenizer", type=Path, default=shared / "tokenizers" / "qwen2")
    parser.add_argument("--profile", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
