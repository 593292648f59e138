"""How fast does a variant write, its reference's texts being known?

    python benchmarks/drafts.py MODEL VARIANT [--task ifeval] [--items 12] [--new-tokens 256]
        [--rounds 1] [--chat] [--no-peer]

MODEL is a directory, VARIANT a file or directory with the same architecture. The reference writes
once. Then, in turn, the variant writes with the reference's texts as drafts, with drafts from its
own text alone, without any, and through transformers' `generate` as lm-eval 0.4.13 calls it
(prompts sorted by length, batches of 8, padded on the left), on the same weights in bf16. Tokens
per second count each side's own texts, since bf16 rounds differently on the two sides; seconds are
of the processor beside those of the clock, as other work on the machine shifts the latter. Texts
with drafts, without them, and written one at a time have to be the same: how many differ is
printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitloss.engines.dense.generation import generate as module
from bitloss.engines.dense.generation.row_blocks import use_row_blocks
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.memory import reuse_freed_memory
from bitloss.engines.dense.scoring.head import Head, load_head
from bitloss.formats import open_checkpoint
from bitloss.formats.tokenizers.loading import eos_ids, load_tokenizer
from bitloss.requests import Generated, GenerateRequest
from bitloss.tasks.find import resolve_task
from padded import padded_batches

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = 4096


@dataclass
class Times:
    """Of one side, a figure a round."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def add(self, work: Callable[[], int]) -> None:
        """Time it; it gives the tokens that it wrote."""
        began, used = time.perf_counter(), time.process_time()
        self.tokens.append(work())
        self.clock.append(time.perf_counter() - began)
        self.processor.append(time.process_time() - used)

    def rate(self, seconds: list[float]) -> float:
        """Tokens per second, median of the rounds."""
        return statistics.median(n / s for n, s in zip(self.tokens, seconds, strict=True))


def main() -> None:
    """Print a table."""
    arguments = _parse()
    reuse_freed_memory()
    tokenizer = load_tokenizer(arguments.model)
    ends = eos_ids(tokenizer, arguments.model)
    requests = _requests(arguments, tokenizer)

    def write(model: tuple[ModelGraph, Head], asked: Sequence[GenerateRequest]) -> list[Generated]:
        found = dict(
            module.generate(*model, asked, decode=tokenizer.decode, eos_ids=ends, context=CONTEXT)
        )
        return [found[n] for n in range(len(asked))]

    reference, _ = _loaded(arguments.model, arguments.model, peer=False)
    written = write(reference, requests)
    del reference
    variant, peer = _loaded(arguments.variant, arguments.model, peer=not arguments.no_peer)
    drafted = [
        replace(request, draft=tokenizer.encode(text.text, special=False))
        for request, text in zip(requests, written, strict=True)
    ]
    times: dict[str, Times] = {}
    texts: dict[str, list[Generated]] = {}
    tries = module._tries_drafts

    def ours(name: str, asked: Sequence[GenerateRequest], *, drafts: bool) -> int:
        module._tries_drafts = tries if drafts else lambda graph: False
        try:
            texts[name] = write(variant, asked)
        finally:
            module._tries_drafts = tries
        return sum(text.n_tokens for text in texts[name])

    sides: dict[str, Callable[[], int]] = {
        "reference's drafts": lambda: ours("given", drafted, drafts=True),
        "own drafts": lambda: ours("own", requests, drafts=True),
        "no drafts": lambda: ours("none", requests, drafts=False),
    }
    if peer is not None:
        sides["transformers"] = lambda: _theirs(peer, requests, sorted(ends))
    for _ in range(arguments.rounds):
        for name, work in sides.items():
            times.setdefault(name, Times()).add(work)
            one = times[name]
            print(f"{name}: {one.tokens[-1]} tokens, {one.processor[-1]:.1f} s", flush=True)
    alone = [write(variant, [request])[0] for request in drafted[: arguments.alone]]
    same = sum(a == b for a, b in zip(texts["none"], written, strict=True))
    print(f"{len(requests)} texts of {arguments.task}, {same} of the variant's are the reference's")
    print("| | tokens | tokens per s of the processor | tokens per s |\n|---|---:|---:|---:|")
    for name, one in times.items():
        rates = f"{one.rate(one.processor):.1f} | {one.rate(one.clock):.1f}"
        print(f"| {name} | {one.tokens[-1]} | {rates} |")
    for name in ("given", "own"):
        differ = sum(a != b for a, b in zip(texts[name], texts["none"], strict=True))
        print(f"texts that drafts change ({name}): {differ} of {len(requests)}")
    differ = sum(a != b for a, b in zip(alone, texts["none"], strict=False))
    print(f"texts that company changes: {differ} of {len(alone)}")


def _loaded(path: Path, reference: Path, *, peer: bool) -> tuple[tuple[ModelGraph, Head], Any]:
    """A model in the reference's graph, and in transformers' class."""
    checkpoint, config = open_checkpoint(path), open_checkpoint(reference).config
    graph = ModelGraph(config, precision="bf16", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="bf16", device="cpu")
    theirs = None
    if peer:
        from transformers import AutoModelForCausalLM

        theirs = AutoModelForCausalLM.from_pretrained(reference, dtype=torch.bfloat16).eval()
        theirs.base_model.load_state_dict(graph.body.state_dict())
        with torch.no_grad():
            theirs.get_output_embeddings().weight.copy_(head.held)
    print(f"{path.name}: rows by blocks {use_row_blocks(graph)}")
    return (graph, head), theirs


def _requests(arguments: argparse.Namespace, tokenizer: Any) -> list[GenerateRequest]:
    task = resolve_task(arguments.task)
    items = task.load(arguments.data).items
    chosen = items[:: max(1, len(items) // arguments.items)][: arguments.items]
    decoding = task.facts.decoding
    most = min(arguments.new_tokens, decoding.max_new_tokens)
    requests = []
    for item in chosen:
        if arguments.chat:
            said = [{"role": "user", "content": item.prompt.text}]
            ids = tokenizer.hf.apply_chat_template(
                said, add_generation_prompt=True, return_dict=False
            )
            prompt = np.array(ids, np.int32)
        else:
            prompt = tokenizer.encode(item.prompt.text, special=True)
        requests.append(GenerateRequest(prompt, replace(decoding, max_new_tokens=most)))
    return requests


@torch.inference_mode()
def _theirs(model: Any, requests: Sequence[GenerateRequest], ends: list[int]) -> int:
    """Tokens up to the end of each text; stop strings are left out, which ends no text early."""
    prompts = [request.prompt for request in requests]
    tokens = 0
    for _, ids, mask in padded_batches(prompts):
        made = model.generate(
            ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=requests[0].decoding.max_new_tokens,
            eos_token_id=ends,
            pad_token_id=ends[0],
        )[:, ids.shape[1] :]
        ended = torch.isin(made, torch.tensor(ends)).int()
        # The end itself counts, and all of a text without one.
        tokens += int(((ended.cumsum(1) - ended) == 0).sum())
    return tokens


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("variant", type=Path)
    parser.add_argument("--task", default="ifeval")
    parser.add_argument("--items", type=int, default=12)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--alone", type=int, default=3, help="texts that are written alone, too")
    parser.add_argument("--chat", action="store_true", help="apply the chat template")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    return parser.parse_args()


if __name__ == "__main__":
    main()
