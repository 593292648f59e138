"""Texts in bf16 are the same to the bit whatever is read beside them.

Oracle: the same products with other rows beside them, and the same texts one token at a time.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bitloss.engines.dense.generation import generate as module
from bitloss.engines.dense.generation.decoder import DecodingSequence, SequenceDecoder
from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.generation.prefixes import share_prefixes
from bitloss.engines.dense.generation.row_blocks import BlockLinear, use_row_blocks
from bitloss.engines.dense.generation.step import Piece
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import has_amx
from bitloss.engines.dense.row_cuts import BLOCK, RowCuts
from bitloss.engines.dense.scoring.head import load_head
from bitloss.requests import Decoding, GenerateRequest
from bitloss.types import IntArray

needs_amx = pytest.mark.skipif(not has_amx(), reason="needs a processor with AMX")


def some(sizes: list[int], seed: int = 0) -> list[IntArray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(3, 101, n).astype(np.int32) for n in sizes]


@pytest.fixture
def model(random_model):
    """A random model in bf16, whose tokens are all about as likely: any rounding shows."""

    def make(architecture: str = "llama"):
        _, checkpoint = random_model(architecture)
        graph = ModelGraph(checkpoint.config, precision="bf16", device="cpu")
        graph.load(checkpoint)
        return graph, load_head(checkpoint, precision="bf16", device="cpu")

    return make


def write(model, requests: list[GenerateRequest], **options) -> list[str]:
    options = {"eos_ids": (), "context": 128, **options}
    found = dict(generate(*model, requests, decode=lambda ids: str(list(ids)), **options))
    return [found[n].text for n in range(len(requests))]


@needs_amx
@pytest.mark.parametrize("sizes", [(576, 192), (96, 640), (100, 36)])
def test_a_row_has_one_product_in_any_block(sizes: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(*sizes, dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 10)
    rows = torch.randn(3 * BLOCK, sizes[0], generator=generator).bfloat16()
    block = BlockLinear(linear, RowCuts())
    with torch.no_grad():
        whole = block(rows)
        for count in range(1, BLOCK + 1):
            for start in (0, 1, 7, 40):
                assert torch.equal(block(rows[start : start + count]), whole[start:][:count])
        expected = nn.functional.linear(rows.float(), linear.weight.float(), linear.bias.float())
    assert torch.allclose(whole.float(), expected, rtol=0.01, atol=0.02)


@needs_amx
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma2", "mistral"])
def test_states_are_the_same_in_any_company(model, architecture: str) -> None:
    """To the bit: a sequence alone, beside others, and with drafts behind it."""
    graph, head = model(architecture)
    assert use_row_blocks(graph)

    def states(sizes: list[int], drafts: list[list[int]]) -> torch.Tensor:
        decoder = SequenceDecoder(graph, head, 8, 128)
        tasks = share_prefixes(some(sizes))
        pieces = [Piece(task.own, 0, len(task.own.ids)) for task in tasks]
        decoder.states([piece for piece in pieces if piece.stop], [])
        for task in tasks:
            decoder.admit(
                DecodingSequence(
                    task.index, task, Decoding(9), None, None, None,  # type: ignore[arg-type]
                    task.last, len(task.own.ids),
                )
            )  # fmt: skip
        return decoder.states([], drafts)

    alone = states([20], [[]])
    assert torch.equal(states([20, 50, 3, 70], [[], [], [], []])[0], alone[0])
    drafted = states([20, 50, 3], [[5, 6, 7], [8], list(range(9, 30))])
    assert torch.equal(drafted[0], alone[0])
    assert torch.equal(states([20], [[5, 6, 7]])[:4], drafted[:4])


@needs_amx
@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_drafts_slots_and_company_change_no_text(model, architecture: str, monkeypatch) -> None:
    own = model(architecture)
    assert use_row_blocks(own[0])
    asked = [GenerateRequest(ids, Decoding(24)) for ids in some([5, 30, 1, 17, 44])]
    monkeypatch.setattr(module, "_tries_drafts", lambda graph: False)
    plain = write(own, asked)
    alone = [write(own, [request])[0] for request in asked]
    monkeypatch.undo()
    assert alone == plain
    right = [np.array(json.loads(text), np.int32) for text in plain]
    wrong = [ids.copy() for ids in right]
    for ids in wrong:
        ids[3::5] = 7
    for drafts in (right, wrong, right[::-1], [None] * 5):
        given = [replace(one, draft=ids) for one, ids in zip(asked, drafts, strict=True)]
        assert write(own, given) == plain
        assert write(own, given, slots=2) == plain


def test_what_is_no_plain_layer_is_left_as_it_is(model, monkeypatch) -> None:
    """float32, a layer with a hook, a product outside of layers: drafts are not tried in bf16."""
    graph, _ = model("llama")
    linear = next(m for m in graph.body.modules() if isinstance(m, nn.Linear))
    hook = linear.register_forward_pre_hook(lambda module, inputs: None)
    assert not use_row_blocks(graph)
    hook.remove()
    graph.body.extra = nn.ParameterList([torch.zeros(2, 2)])
    assert not use_row_blocks(graph)
    assert not module._tries_drafts(graph)
    assert not any(isinstance(m, BlockLinear) for m in graph.body.modules())
