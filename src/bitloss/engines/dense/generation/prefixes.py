"""Which beginnings of prompts are shared, so that each is computed and kept once.

Prompts are sorted; of neighbours the longest common prefix is taken, and every run of prompts with
a common one that is long enough gets it as a `Prefix`. Prefixes of prefixes nest: examples that all
questions share, and below them a question of which many samples are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from bitloss.types import IntArray

__all__ = ["LEAST_SHARED", "Prefix", "Task", "share_prefixes"]

# Shorter ones cost more in separate products than they save.
LEAST_SHARED = 32


@dataclass(eq=False, slots=True)
class Prefix:
    """A run of tokens whose keys and values are held once.

    Attributes:
        ids: its tokens, shape ``[n]``.
        first: position of its first token.
        parent: what stands before it.
        users: sequences that still need it.
        done: tokens whose keys and values are computed.
        layers: keys and values, each of shape ``[key heads, n, dim]``.
    """

    ids: IntArray
    first: int
    parent: Prefix | None
    users: int = 1
    done: int = 0
    layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """Position of the token that follows."""
        return self.first + len(self.ids)

    def chain(self) -> Iterator[Prefix]:
        """This one, the one before it, and so on."""
        node: Prefix | None = self
        while node is not None:
            yield node
            node = node.parent

    def release(self) -> None:
        """One sequence fewer needs this and what stands before it; memory goes with the last."""
        for node in self.chain():
            node.users -= 1
            if not node.users:
                node.layers.clear()

    def store(self, layer: int, start: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep keys and values ``[key heads, tokens, dim]`` of the tokens from `start` on."""
        if layer not in self.layers:
            n = len(self.ids)
            self.layers[layer] = (
                key.new_empty(key.shape[0], n, key.shape[2]),
                value.new_empty(value.shape[0], n, value.shape[2]),
            )
        for kept, new in zip(self.layers[layer], (key, value), strict=True):
            kept[:, start : start + new.shape[1]] = new


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt, split into what it shares and what it has for itself.

    Attributes:
        index: of the prompt.
        own: what it does not share, but its last token, which is fed like a generated one; the
            parent is what it shares.
        last: the prompt's last token.
    """

    index: int
    own: Prefix
    last: int


def share_prefixes(prompts: Sequence[IntArray], least: int = LEAST_SHARED) -> list[Task]:
    """Find shared prefixes of at least `least` tokens beyond the one they continue.

    Args:
        prompts: token ids, each of shape ``[n]``, n >= 1.
        least: see above.

    Returns:
        A task a prompt. Users of a prefix stand together, and otherwise prompts keep their order.
    """
    bodies = [prompt[:-1] for prompt in prompts]
    # Bytes of big-endian numbers are in the numbers' order.
    order = sorted(range(len(bodies)), key=lambda i: (bodies[i].astype(">u4").tobytes(), i))
    common = np.array([_common(bodies[a], bodies[b]) for a, b in pairwise(order)], np.int64)
    owners: dict[int, Prefix] = {}
    keys: dict[int, tuple[int, ...]] = {}
    # Ranges of `order`, the prefix they share, and the smallest index in each prefix around them.
    ranges: list[tuple[int, int, Prefix | None, tuple[int, ...]]] = [(0, len(order), None, ())]
    while ranges:
        start, stop, parent, path = ranges.pop()
        inside = common[start : stop - 1]
        depth = parent.end if parent is not None else 0
        shared = int(inside.min()) if len(inside) else 0
        if len(inside) and shared - depth >= least:
            ids = prompts[order[start]][depth:shared]
            parent = Prefix(ids, depth, parent, users=stop - start)
            path = (*path, min(order[start:stop]))
        if not len(inside) or int(inside.max()) - (parent.end if parent else 0) < least:
            for index in order[start:stop]:
                keys[index] = (*path, index)
                if parent is not None:
                    owners[index] = parent
            continue
        cuts = [start, *(start + 1 + int(at) for at in np.flatnonzero(inside == shared)), stop]
        ranges.extend((a, b, parent, path) for a, b in pairwise(cuts))
    return [_task(i, prompts[i], owners.get(i)) for i in sorted(keys, key=lambda i: keys[i])]


def _task(index: int, prompt: IntArray, shared: Prefix | None) -> Task:
    first = shared.end if shared is not None else 0
    own = Prefix(prompt[first:-1], first, shared)
    return Task(index, own, int(prompt[-1]))


def _common(one: IntArray, other: IntArray) -> int:
    size = min(len(one), len(other))
    differs = one[:size] != other[:size]
    return int(differs.argmax()) if differs.any() else size
