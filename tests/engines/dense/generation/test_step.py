"""The attention of one forward of generation, on a device that nobody may wait for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bitloss.engines.dense.generation.kv_rows import SequenceKVCache
from bitloss.engines.dense.generation.prefixes import Prefix
from bitloss.engines.dense.generation.step import Above, Piece, StepPlan


class Copies(TorchDispatchMode):
    """Counts tensors that go to another device, and what is asked of one."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        name = function.__name__
        if "_to_copy" in name and args[0].device != found.device:
            self.moved.append(name)
        if name in ("_local_scalar_dense.default", "nonzero.default"):
            self.moved.append(name)
        return found


@pytest.mark.parametrize("window", [None, 12, 4])
def test_layers_wait_for_nothing(window):
    """On a device that is not the CPU: two pieces of prompts, three rows, drafts for two of them, a
    prefix, two layers.

    Copies of numbers to a card and questions about them would each wait for it, in every layer.
    """
    with Copies() as seen:

        def some(tokens, heads=2):
            return torch.randn(heads, tokens, 8, device="meta")

        shared = Prefix(np.arange(6), 0, None, users=3)
        pieces = [
            Prefix(np.arange(5), 0, None),
            Prefix(np.arange(9), 6, shared),
        ]
        own = SequenceKVCache(4, 40)
        own.reserve(9)
        numbers = torch.zeros(5 * 3 + 5 + 10 + 4, dtype=torch.long, device="meta")
        rows, places, offsets, positions, under = numbers.split([5, 5, 5, 15, 4])
        plan = StepPlan(
            own=own,
            rows=rows,
            places=places,
            offsets=offsets,
            sequences=3,
            most=2,
            longest=9,
            positions=positions,
            above=[Above(shared, under, 6, 14)],
            pieces=[Piece(pieces[0], 0, 5), Piece(pieces[1], 4, 9)],
            dtype=torch.float32,
        )
        for layer in range(2):
            shared.store(layer, 0, some(6), some(6))
            pieces[1].store(layer, 0, some(4), some(4))
            out = plan.attend(
                layer, some(15, 4), some(15), some(15), scale=0.3, soft_cap=1.0, window=window
            )
            assert out.shape == (4, 15, 8)
            assert out.device.type == "meta"
    assert seen.moved == []
