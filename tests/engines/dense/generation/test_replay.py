"""Steps that are recorded and replayed; oracle: the texts of steps that are not.

Recording needs a card. Here a list of operations stands in for it: they are done again on the same
tensors, and what they give is put where it was the first time. As on a card, nothing else of the
step is done again, and a question about a number cannot be recorded.
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


class Tape(TorchDispatchMode):
    """Keeps the operations of a block, with the tensors that they read and gave."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "_local_scalar_dense" in function.__name__:
            raise RuntimeError("operation not permitted when stream is capturing")
        given = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, given))
        return given

    def play(self) -> None:
        for function, args, kwargs, given in self.operations:
            again = function(*args, **kwargs)
            if function.is_view or function._schema.is_mutable:
                continue
            for old, new in zip(tensors(given), tensors(again), strict=True):
                old.copy_(new)


def tensors(value):
    return [value] if torch.is_tensor(value) else [one for one in value if torch.is_tensor(one)]


@pytest.fixture
def recorded(monkeypatch):
    """Record from a step's second time on; gives how many were recorded and replayed."""
    counts = {"recorded": 0, "replayed": 0}

    def record(work):
        counts["recorded"] += 1
        with Tape() as tape:
            result = work()

        def replay():
            counts["replayed"] += 1
            tape.play()
            return result

        return replay

    monkeypatch.setattr(replay, "_SEEN", 2)
    monkeypatch.setattr(module, "record_for", lambda graph: record)
    return counts


def test_rows_are_rounded():
    found = [rounded_rows(n, 200) for n in (1, 2, 3, 5, 31, 33, 64, 65, 193, 200)]
    assert found == [1, 2, 4, 8, 32, 64, 64, 96, 200, 200]


@pytest.mark.parametrize("shared", [0, 35])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gemma2-narrow", "passed"])
def test_replayed_steps_write_the_same_texts(talker, architecture, shared, recorded, monkeypatch):
    """Rows grow, texts end one by one, prompts come in between, and windows pass what is shared."""
    monkeypatch.setitem(CONFIGS, "gemma2-narrow", NARROW)
    monkeypatch.setitem(CONFIGS, "passed", {**NARROW, "sliding_window": 64})
    _, checkpoint = talker(architecture)
    asked = requests(prompts([1, 3, 20, 9, 14], shared=shared))
    asked = [
        type(one)(one.prompt, type(one.decoding)(8 + 14 * n), one.seed)
        for n, one in enumerate(asked)
    ]
    options = {"slots": 4, "batch_tokens": 64, "context": 128}
    with monkeypatch.context() as plain:
        plain.setattr(module, "record_for", lambda graph: None)
        expected = run(loaded(checkpoint), asked, **options)
    assert run(loaded(checkpoint), asked, **options) == expected
    assert recorded["recorded"] >= 2
    assert recorded["replayed"] > recorded["recorded"]


def test_a_fixed_step_is_right_for_later_positions():
    """What is shared lies within the window when it is recorded, and partly beyond it later."""
    dice = torch.Generator().manual_seed(0)

    def some(heads, tokens):
        return torch.randn(heads, tokens, 8, generator=dice)

    shared = Prefix(np.arange(6), 0, None, users=2)
    shared.store(0, 0, some(2, 6), some(2, 6))
    own = SequenceKVCache(2, 12)
    own.reserve(12)
    query, key, value = some(4, 2), some(2, 2), some(2, 2)

    def attended(numbers, low, *, fixed=False):
        plan = StepPlan(
            own=own, lengths=numbers[0], longest=11, positions=numbers[1],
            above=[Above(shared, None, low, low + 2)], pieces=(), dtype=torch.float32, fixed=fixed,
        )  # fmt: skip
        return plan.attend(0, query, key, value, scale=0.3, soft_cap=None, window=9)

    numbers = torch.tensor([[0, 2], [6, 8]])
    with Tape() as tape:
        result = attended(numbers, 6, fixed=True)
    torch.testing.assert_close(result, attended(numbers, 6))
    numbers.copy_(torch.tensor([[3, 5], [9, 11]]))
    tape.play()
    torch.testing.assert_close(result, attended(numbers, 9))


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
