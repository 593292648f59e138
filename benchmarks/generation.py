"""How fast is text generated, against transformers' `generate` as lm-eval calls it?

    python benchmarks/generation.py [--items N] [--new-tokens N] [--lengths equal,early]
        [--rounds N] [--models DIR]

HumanEval's prompts through the 0.5 B shape of Qwen2 with random weights, in bf16. Such a model
never stops by itself, so each text is given a length: all the same (`equal`), or drawn from a
geometric distribution with a quarter of the tokens as its mean (`early`), as answers end early that
stop at ``\\ndef``. The other side is what lm-eval 0.4.13 does (models/huggingface.py): prompts
sorted by length, batches of 8, padded on the left, each batch until its longest text is done.
Interleaved, medians; tokens a second count the texts' own tokens only. With `--profile`, where the
time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import gzip
import json
import pstats
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import random_models
from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.memory import reuse_freed_memory
from bitloss.engines.dense.scoring.head import Head, load_head
from bitloss.formats import open_checkpoint
from bitloss.formats.tokenizers.loading import HFTokenizer, load_tokenizer
from bitloss.requests import Decoding, GenerateRequest
from padded import padded_batches

ROOT = Path(__file__).resolve().parents[1]
# lm-eval 0.4.13, tasks/humaneval/humaneval.yaml.
STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
CONTEXT = 4096


def main() -> None:
    arguments = _parse()
    reuse_freed_memory()
    path = random_models.dense(arguments.models / "qwen2-0.5b", arguments.tokenizer)
    checkpoint = open_checkpoint(path)
    graph = ModelGraph(checkpoint.config, precision="bf16", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="bf16", device="cpu")
    tokenizer = load_tokenizer(arguments.tokenizer)
    prompts = _prompts(arguments.data, tokenizer, arguments.items)
    lengths = {
        "equal": [arguments.new_tokens] * len(prompts),
        "early": _early(len(prompts), arguments.new_tokens),
    }
    lengths = {name: lengths[name] for name in arguments.lengths.split(",")}
    if arguments.profile:
        _profile(
            lambda: _ours(
                graph, head, tokenizer, prompts, next(iter(lengths.values())), arguments.slots
            )
        )
        return
    peer = _peer(path)
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.rounds):
        for name, counts in lengths.items():
            for who, work in (
                ("ours", lambda c=counts: _ours(
                    graph, head, tokenizer, prompts, c, arguments.slots)),
                ("transformers", lambda c=counts: _theirs(peer, prompts, c)),
            ):  # fmt: skip
                start = time.perf_counter()
                work()
                seconds.setdefault((name, who), []).append(time.perf_counter() - start)
    _print(seconds, lengths)


def _ours(
    graph: ModelGraph,
    head: Head,
    tokenizer: HFTokenizer,
    prompts: Sequence[np.ndarray],
    counts: Sequence[int],
    slots: int,
) -> None:
    requests = [
        GenerateRequest(prompt, Decoding(count, stop=STOP))
        for prompt, count in zip(prompts, counts, strict=True)
    ]
    made = 0
    for _, answer in generate(
        graph, head, requests, decode=tokenizer.decode, eos_ids=(), context=CONTEXT, slots=slots
    ):
        made += answer.n_tokens
    if made != sum(counts):
        print(f"a text stopped by itself: {made} of {sum(counts)} tokens")


@torch.inference_mode()
def _theirs(model: Any, prompts: Sequence[np.ndarray], counts: Sequence[int]) -> None:
    for batch, ids, mask in padded_batches(prompts):
        model.generate(
            ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=max(counts[i] for i in batch),
            eos_token_id=None,
            pad_token_id=0,
        )


def _peer(path: Path) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()
    model.generation_config.eos_token_id = None
    return model


def _prompts(data: Path, tokenizer: HFTokenizer, items: int) -> list[np.ndarray]:
    lines = gzip.decompress((data / "humaneval" / "HumanEval.jsonl.gz").read_bytes()).splitlines()
    chosen = lines[:: max(1, len(lines) // items)][:items]
    return [tokenizer.encode(json.loads(line)["prompt"], special=False) for line in chosen]


def _early(count: int, most: int) -> list[int]:
    drawn = np.random.default_rng(0).geometric(4 / most, count)
    return [int(n) for n in np.minimum(drawn, most)]


def _print(seconds: dict[tuple[str, str], list[float]], lengths: dict[str, list[int]]) -> None:
    for name, counts in lengths.items():
        middle = {who: statistics.median(seconds[name, who]) for who in ("ours", "transformers")}
        print(f"{name}: {len(counts)} texts, {sum(counts)} tokens")
        for who, taken in middle.items():
            print(f"  {who:<14}{taken:8.1f} s{sum(counts) / taken:10.1f} tokens/s")
        print(f"  ratio         {middle['transformers'] / middle['ours']:8.2f}")


def _profile(work: Any) -> None:
    profile = cProfile.Profile()
    profile.runcall(work)
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(25)
    with torch.profiler.profile() as traced:
        work()
    table = traced.key_averages().table(
        sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=44
    )
    print("\n".join(line[:120] for line in table.splitlines()))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    shared = ROOT.parent / "shared"
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--lengths", default="equal,early")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--data", type=Path, default=shared / "data")
    parser.add_argument("--tokenizer", type=Path, default=shared / "tokenizers" / "qwen2")
    parser.add_argument("--models", type=Path, default=ROOT / ".cache" / "models")
    parser.add_argument("--profile", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
