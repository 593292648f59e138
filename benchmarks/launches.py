"""How many operations attention dispatches per layer: on a card, each is a launch.

    python benchmarks/launches.py

Counted on torch's `meta` device, where nothing is computed: operations that are no views, copies
from the CPU, and questions to the device, by kind of forward. `--device cuda` takes the same code
path but for the kernels of torch that need a card.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bitloss.engines.dense.generation.kv_rows import SequenceKVCache
from bitloss.engines.dense.generation.prefixes import Prefix
from bitloss.engines.dense.generation.step import Above, Piece, StepPlan
from bitloss.engines.dense.prefix_tree.attention import TreeAttention
from bitloss.engines.dense.prefix_tree.forwards import plan_forwards
from bitloss.engines.dense.prefix_tree.tree import grow
from bitloss.types import Window

DEVICE = torch.device("meta")
OPTIONS: dict[str, Any] = {"scale": 0.125, "soft_cap": None, "window": None}


class Count(TorchDispatchMode):
    """Counts what is dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        name = function.__name__
        if "_to_copy" in name and args[0].device != made.device:
            self.found["copies"] += 1
        elif "_local_scalar" in name or "nonzero" in name:
            self.found["questions"] += 1
        elif not function.is_view:
            self.found["operations"] += 1
        return made


def some(tokens: int, heads: int) -> torch.Tensor:
    return torch.empty(heads, tokens, 64, device=DEVICE)


def tree() -> Counter[str]:
    """Two questions of 200 tokens after a preamble of 300, four short options each."""
    rng = np.random.default_rng(0)

    def ids(count: int) -> Any:
        return rng.integers(0, 30_000, count).astype(np.int32)

    preamble, windows = ids(300), []
    for _ in range(2):
        question = np.concatenate([preamble, ids(200)])
        windows += [Window(np.concatenate([question, ids(5)]), len(question)) for _ in range(4)]
    grown = grow(windows)
    (forward,) = plan_forwards(grown, 4096)
    attention = TreeAttention(grown, DEVICE)
    attention.begin(forward)
    print(f"  {len(forward.links)} links, {len(forward.tiles)} tiles")
    layers = [[some(grown.tokens, heads) for heads in (14, 2, 2)] for _ in range(2)]
    attention.attend(0, *layers[0], **OPTIONS)  # masks are made once per forward
    with Count() as count:
        attention.attend(1, *layers[1], **OPTIONS)
    return count.found


def step(pieces: int, *, shared: bool) -> Counter[str]:
    """200 sequences that decode, and pieces of prompts of 100 tokens."""
    rows, length = 200, 60
    prefix = Prefix(np.arange(128), 0, None)
    own = SequenceKVCache(rows, length + 1)
    own.reserve(length + 1)
    read = [Prefix(np.arange(100), 0, None) for _ in range(pieces)]
    tokens = rows + 100 * pieces
    numbers = torch.empty(3, rows, dtype=torch.long, device=DEVICE)
    plan = StepPlan(
        own=own,
        rows=numbers[0],
        places=numbers[1],
        offsets=numbers[2],
        sequences=rows,
        most=1,
        longest=length + 1,
        positions=torch.empty(tokens, dtype=torch.long, device=DEVICE),
        above=[Above(prefix, None, 128, 188)] * shared,
        pieces=[Piece(one, 0, 100) for one in read],
        dtype=torch.float32,
    )
    for layer in range(2):
        prefix.store(layer, 0, some(128, 2), some(128, 2))
        given = some(tokens, 14), some(tokens, 2), some(tokens, 2)
        if not layer:
            plan.attend(layer, *given, **OPTIONS)  # masks are made once per forward
            continue
        with Count() as count:
            plan.attend(layer, *given, **OPTIONS)
    return count.found


def main() -> None:
    for name, count in (
        ("a prefix tree", tree),
        ("200 sequences decode", lambda: step(0, shared=False)),
        ("200 decode under a prefix", lambda: step(0, shared=True)),
        ("200 decode, 8 prompts are read", lambda: step(8, shared=False)),
    ):
        print(f"{name}: {dict(count())}")


if __name__ == "__main__":
    main()
