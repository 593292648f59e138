"""The dense engine on a card; oracles: the same on the CPU, and attention's definition in float64.

Skipped without a CUDA device. `benchmarks/gpu.sh` runs these on a machine that has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.prefix_tree.partial_attention import attend
from bitloss.engines.dense.scoring.head import load_head
from bitloss.engines.evaluate import evaluate, make_scorer
from bitloss.engines.values import Candidate, Setup
from bitloss.errors import BitlossError
from bitloss.requests import Decoding, GenerateRequest
from bitloss.runner import RunStore
from bitloss.types import SilentProgress, TokenRecords, Window
from peers.random_models import models, random_model, windows
from peers.scoring import contents

__all__ = ["models", "random_model", "windows"]

DEVICE = "cuda"

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def scored(
    folder: Path,
    models: Any,
    windows: Sequence[Window],
    *names: str,
    device: str = DEVICE,
    arithmetic: str = "fp32",
    shared: bool = False,
) -> list[TokenRecords]:
    """Some of the models beside the reference."""
    store = RunStore(folder)
    reference = Candidate(models["reference"], arithmetic=arithmetic, device=device)
    setup = Setup(store, reference, SilentProgress(), batch_tokens=64, share_prefixes=shared)
    scorer = make_scorer(setup, "dense")
    group = [replace(reference, model=models[name]) for name in names]
    found = evaluate(scorer, scorer.pieces(windows), group)
    assert not found.failed
    return [store.read_token_records(found.records_of(one)) for one in group]


@pytest.mark.parametrize("arithmetic", ["fp32", "mixed", "bf16"])
def test_a_copy_loses_nothing(
    tmp_path: Path, models: Any, windows: Sequence[Window], arithmetic: str
) -> None:
    copy = replace(models["reference"], name="copy")
    (found,) = scored(tmp_path, {**models, "copy": copy}, windows, "copy", arithmetic=arithmetic)
    assert not found.kl_divergence.any()
    assert found.same_top1.all()


@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_two_runs_are_equal_to_the_bit(
    tmp_path: Path, models: Any, windows: Sequence[Window], arithmetic: str
) -> None:
    for name in ("one", "two"):
        scored(tmp_path / name, models, windows, "a", "b", arithmetic=arithmetic)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("shared", [False, True])
def test_float32_is_the_cpus(
    tmp_path: Path, models: Any, windows: Sequence[Window], shared: bool
) -> None:
    (own,) = scored(tmp_path / "own", models, windows, "a", shared=shared)
    (cpu,) = scored(tmp_path / "cpu", models, windows, "a", shared=shared, device="cpu")
    np.testing.assert_allclose(own.nll, cpu.nll, atol=1e-4)
    np.testing.assert_allclose(own.kl_divergence, cpu.kl_divergence, atol=1e-5)
    np.testing.assert_allclose(own.overlap, cpu.overlap, atol=1e-4)


@pytest.mark.parametrize("soft_cap", [None, 30.0])
@pytest.mark.parametrize("key_heads", [8, 2])
@pytest.mark.parametrize("shape", ["all", "causal", "mask"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_is_its_definition(
    shape: str, key_heads: int, soft_cap: float | None, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, 96, 64, generator=generator).to(DEVICE, dtype)
        for heads in (8, key_heads, key_heads)
    )
    mask = torch.full((96, 96), -torch.inf, device=DEVICE).triu(1) if shape == "mask" else None
    causal = shape == "causal"
    out, log_sum = attend(
        query, key, value, scale=0.125, causal=causal, mask=mask, soft_cap=soft_cap
    )
    wide, keys, values = (part.double() for part in (query, key, value))
    keys, values = (part.repeat_interleave(8 // key_heads, dim=1) for part in (keys, values))
    products = wide @ keys.transpose(-1, -2) * 0.125
    if soft_cap is not None:
        products = soft_cap * torch.tanh(products / soft_cap)
    if causal or mask is not None:
        products += torch.full((96, 96), -torch.inf, device=DEVICE, dtype=torch.float64).triu(1)
    expected = products.softmax(-1) @ values
    error = (out.double() - expected).abs().mean() / expected.abs().mean()
    assert error < (1e-5 if dtype is torch.float32 else 4e-3)
    torch.testing.assert_close(log_sum.double(), products.logsumexp(-1), atol=2e-2, rtol=1e-3)


def test_texts_are_the_cpus(models: Any) -> None:
    checkpoint = models["reference"].weights
    prompts = [np.arange(3, 3 + size, dtype=np.int32) for size in (4, 9, 30, 31)]
    requests = [GenerateRequest(ids, Decoding(12), n) for n, ids in enumerate(prompts)]
    texts = []
    for device in ("cpu", DEVICE):
        graph = ModelGraph(dict(checkpoint.config), precision="fp32", device=device)
        graph.load(checkpoint)
        head = load_head(checkpoint, precision="fp32", device=device)
        written = generate(
            graph, head, requests, decode=lambda ids: " ".join(map(str, ids)), eos_ids=(),
            context=128,
        )  # fmt: skip
        texts.append(dict(written))
    assert texts[0] == texts[1]


def test_a_full_card_is_an_error_of_one_line(
    tmp_path: Path, models: Any, windows: Sequence[Window], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(self: ModelGraph, *arguments: Any, **options: Any) -> torch.Tensor:
        free, _ = torch.cuda.mem_get_info()
        return torch.empty(2 * free, dtype=torch.uint8, device=DEVICE)

    monkeypatch.setattr(ModelGraph, "hidden", hidden)
    with pytest.raises(BitlossError, match="not enough memory on cuda"):
        scored(tmp_path, models, windows, "a")


def test_float32_attention_repeats_key_heads(random_model: Any) -> None:
    """Told that heads share keys, torch may take the kernel that holds all products."""
    _, checkpoint = random_model("llama")
    graph = ModelGraph(checkpoint.config, precision="fp32", device=DEVICE)
    assert graph.body.config._attn_implementation == "bitloss_repeated_sdpa"
    graph = ModelGraph(checkpoint.config, precision="bf16", device=DEVICE)
    assert graph.body.config._attn_implementation == "sdpa"


def test_a_model_read_by_layers_has_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: Any, windows: list[Window]
) -> None:
    from bitloss.engines.dense.scoring import heads, scorer

    for name, large in (("whole", False), ("layers", True)):
        monkeypatch.setattr(scorer, "fits_in_memory", lambda *args, large=large: not large)
        monkeypatch.setattr(heads, "holds_head", lambda *args, large=large: not large)
        scored(tmp_path / name, models, windows, "a", "b")
    assert contents(tmp_path / "layers") == contents(tmp_path / "whole")


def test_states_stay_on_the_card(tmp_path: Path, models: Any, windows: Sequence[Window]) -> None:
    for name, room in (("away", 0), ("stay", 1 << 30)):
        store = RunStore(tmp_path / name)
        reference = Candidate(models["reference"], device=DEVICE)
        scorer: Any = make_scorer(
            Setup(store, reference, SilentProgress(), batch_tokens=64), "dense"
        )
        scorer._states._room = lambda room=room: room
        evaluate(scorer, scorer.pieces(windows), [replace(reference, model=models["a"])])
        assert scorer._states.let_go() is bool(room)  # the reference's
    assert contents(tmp_path / "stay") == contents(tmp_path / "away")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("shared", [False, True])
def test_layers_on_two_cards_have_the_states_of_one(
    models: Any, windows: list[Window], shared: bool
) -> None:
    checkpoint = models["reference"].weights
    size = sum(tensor.numel() for tensor in checkpoint.tensors.values()) * 4 * 2 // 3
    states = []
    for rooms in ({}, dict.fromkeys(("cuda:0", "cuda:1"), size)):
        graph = ModelGraph(checkpoint.config, precision="fp32", device="cuda:0", rooms=rooms)
        assert len(graph.devices) == max(1, len(rooms))
        graph.load(checkpoint)
        states.append(torch.cat(list(hidden_states(graph, windows, 64, share_prefixes=shared))))
    assert torch.equal(*states)
