"""Steps that are recorded and replayed; oracle: the texts of steps that are not.

Recording itself needs a card. Here it is stood in for by doing the work once more on the tensors
that a replay would read; a replay that reads others shows in the texts.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bitloss.engines.dense.generation import generate as module
from bitloss.engines.dense.generation import replay
from bitloss.engines.dense.generation.kv_rows import SequenceKVCache
from bitloss.engines.dense.generation.prefixes import Prefix
from bitloss.engines.dense.generation.replay import record_for, rounded_rows
from bitloss.engines.dense.generation.step import Above, Piece, StepPlan
from peers.random_models import CONFIGS
from peers.writing import NARROW, loaded, prompts, requests, run, talker

__all__ = ["talker"]


@pytest.fixture
def recorded(monkeypatch):
    """Record from a step's second time on; gives how many were recorded and replayed."""
    counts = {"recorded": 0, "replayed": 0}

    def record(work):
        counts["recorded"] += 1

        def again():
            counts["replayed"] += 1
            return work()

        return again

    monkeypatch.setattr(replay, "_SEEN", 2)
    monkeypatch.setattr(module, "record_for", lambda graph: record)
    return counts


def test_rows_are_rounded():
    found = [rounded_rows(n, 200) for n in (1, 2, 3, 5, 31, 33, 64, 65, 193, 200)]
    assert found == [1, 2, 4, 8, 32, 64, 64, 96, 200, 200]


@pytest.mark.parametrize("shared", [0, 35])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gemma2-narrow"])
def test_replayed_steps_write_the_same_texts(talker, architecture, shared, recorded, monkeypatch):
    """Rows grow twice, texts end one by one, and prompts come in between."""
    monkeypatch.setitem(CONFIGS, "gemma2-narrow", NARROW)
    _, checkpoint = talker(architecture)
    asked = requests(prompts([1, 3, 20, 9, 14], shared=shared), count=0)
    asked = [
        type(one)(one.prompt, type(one.decoding)(8 + 5 * n), one.seed)
        for n, one in enumerate(asked)
    ]
    options = {"slots": 4, "batch_tokens": 64, "context": 128}
    with monkeypatch.context() as plain:
        plain.setattr(module, "record_for", lambda graph: None)
        expected = run(loaded(checkpoint), asked, **options)
    assert run(loaded(checkpoint), asked, **options) == expected
    assert recorded["recorded"] >= 2
    assert recorded["replayed"] > recorded["recorded"]


def test_what_cannot_be_recorded_is_done_step_by_step(talker, recorded, monkeypatch):
    _, checkpoint = talker("llama")
    asked = requests(prompts([3, 20, 9]))
    expected = run(loaded(checkpoint), asked)

    def fails(work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(module, "record_for", lambda graph: fails)
    assert run(loaded(checkpoint), asked) == expected


def test_nothing_is_recorded_on_a_cpu(talker):
    _, checkpoint = talker("llama")
    assert record_for(loaded(checkpoint)[0]) is None


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
    """On a device that is not the CPU: two pieces of prompts, three rows, a prefix, two layers.

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
        numbers = torch.zeros(3 + 3 + 10, dtype=torch.long, device="meta")
        plan = StepPlan(
            own=own,
            lengths=numbers[:3],
            longest=8,
            positions=numbers[3:],
            above=[Above(shared, numbers[:2], 6, 14)],
            pieces=[Piece(pieces[0], 0, 5), Piece(pieces[1], 4, 9)],
            dtype=torch.float32,
        )
        for layer in range(2):
            shared.store(layer, 0, some(6), some(6))
            pieces[1].store(layer, 0, some(4), some(4))
            out = plan.attend(
                layer, some(13, 4), some(13), some(13), scale=0.3, soft_cap=1.0, window=window
            )
            assert out.shape == (4, 13, 8)
            assert out.device.type == "meta"
    assert seen.moved == []
