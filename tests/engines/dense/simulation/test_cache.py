"""Keys and values as attention reads them, in every kind of forward.

Oracles: llama.cpp with the same types of cache on the same file, and the forward without any.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.engines.dense.generation.one_by_one import _Reader
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.prefix_tree.states import packs, tree_states
from bitloss.engines.dense.prefix_tree.tree import grow
from bitloss.engines.dense.scoring.head import load_head
from bitloss.engines.dense.simulation import cache
from bitloss.engines.dense.simulation.blocks import store_blocks
from bitloss.engines.dense.simulation.cache import keys_in_pairs
from bitloss.engines.dense.simulation.cache_types import _turn
from bitloss.errors import UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from bitloss.spec.serving import Serving
from bitloss.types import Window
from peers import llama_cpp
from peers.tiny import VOCABULARY, save_tiny

IDS = torch.arange(3, 43).view(2, 20)
REACHED = (
    "llama", "mistral", "gpt2", "gpt_bigcode", "gemma2", "gemma3", "gemma3n_text", "gpt_oss",
    "qwen3_next", "falcon_h1", "jamba", "llama4_text", "phi3",
)  # fmt: skip
NOT_REACHED = ("bloom", "falcon", "mpt", "mamba", "deepseek_v3")


@pytest.mark.parametrize("architecture", REACHED)
def test_every_layer_is_reached_and_nothing_else_changes(tiny, architecture):
    """Types that store everything exactly give the very bytes; others reach all layers."""
    checkpoint, graph = tiny(architecture)
    plain = graph.hidden(IDS)
    graph.load(checkpoint, serving=Serving("f32", "f32"))
    assert torch.equal(graph.hidden(IDS), plain)
    for serving in (Serving("fp8", ""), Serving("", "int4-g4")):
        graph.load(checkpoint, serving=serving)
        assert not torch.equal(graph.hidden(IDS), plain)
    graph.load(checkpoint)
    assert torch.equal(graph.hidden(IDS), plain)


@pytest.mark.parametrize("architecture", NOT_REACHED)
def test_a_cache_out_of_reach_is_refused_in_one_line(tiny, architecture):
    checkpoint, graph = tiny(architecture)
    with pytest.raises(UnsupportedModel, match=rf"expected .*got .*{architecture}") as caught:
        graph.load(checkpoint, serving=Serving("fp8", "fp8"))
    assert "\n" not in caught.value.message
    assert caught.value.hint == "drop --cache-type"
    graph.load(checkpoint)  # and nothing of it stays
    assert torch.isfinite(graph.hidden(IDS)).all()


def test_heads_that_are_no_multiple_of_a_block_are_refused(tiny):
    checkpoint, graph = tiny("llama")
    with pytest.raises(UnsupportedModel, match=r"`q8_0` of values: expected .* 32, got 8"):
        graph.load(checkpoint, serving=Serving("f16", "q8_0"))


@pytest.mark.parametrize("kind", ["q8_0", "q4_0", "fp8", "int4-g32", "fp8-head"])
@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_a_token_is_stored_once_whatever_it_is_read_with(tmp_path, architecture, kind):
    """Sequences that share a beginning, packed and a token at a time, as each by itself."""
    graph, checkpoint = _loaded(tmp_path, architecture, head_dim=64)
    assert packs(graph)
    graph.load(checkpoint, serving=Serving(kind, kind))
    rng = np.random.default_rng(0)
    common = rng.integers(2, VOCABULARY, 30)
    windows = [
        Window(np.concatenate([common, rng.integers(2, VOCABULARY, n)]).astype(np.int32), 1)
        for n in (3, 9, 9)
    ]
    flat = [graph.hidden(torch.from_numpy(w.ids[None, :-1].astype(np.int64)))[0] for w in windows]
    tree = grow(windows)
    shared = torch.cat(list(tree_states(graph, tree, 16)))[torch.from_numpy(tree.rows).long()]
    # Rounding may put a number that lies between two codes to the other one, rarely.
    _require_mostly_equal(shared, torch.cat(flat))
    reader = _Reader(graph)  # with transformers' own cache of what was computed
    assert reader._name is not None
    first, *rest = windows[1].ids[:-1].tolist()
    steps = [reader.begin([first]), *map(reader.extend, rest)]
    _require_mostly_equal(torch.cat(steps), flat[1])


def _require_mostly_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    difference = (found - expected).abs().amax(-1)
    assert difference.median() < 1e-4
    assert difference.mean() < 0.02 * expected.abs().mean()


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
@pytest.mark.parametrize(
    ("architecture", "head_dim", "kind"),
    [
        ("llama", 64, "q8_0"),
        ("llama", 64, "q4_0"),
        ("llama", 128, "iq4_nl"),
        ("llama", 96, "q4_0"),
        ("llama", 32, "q5_0"),
        ("qwen3", 64, "q4_0"),
        ("qwen3", 64, "f16"),
        ("qwen3", 256, "q4_0"),
    ],
)
def test_what_is_lost_is_what_llama_cpp_loses(tmp_path, monkeypatch, architecture, head_dim, kind):
    """Given its kernel's rounding of queries besides, which is no matter of the cache."""
    graph, checkpoint = _loaded(tmp_path, architecture, head_dim=head_dim)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    ids = np.random.default_rng(0).integers(2, VOCABULARY, 100)

    def ours(serving: Serving) -> torch.Tensor:
        graph.load(checkpoint, serving=serving)
        states = graph.hidden(torch.from_numpy(ids[None]))[0]
        return head.logits(states, 0, head.vocabulary)

    gguf = tmp_path / "model.gguf"
    write_gguf(open_source(tmp_path / "model"), gguf)
    plain, simulated = ours(Serving()), ours(Serving(kind, kind))
    if kind != "f16":
        _round_queries(monkeypatch, head_dim, in_pairs=keys_in_pairs(architecture))
    as_run = ours(Serving(kind, kind))
    theirs_plain, theirs = (
        torch.from_numpy(llama_cpp.logits(gguf, [ids.tolist()], keys=name, values=name)[0])
        for name in ("f32", kind)
    )
    lost = _divergence(theirs_plain, theirs)
    assert _divergence(theirs_plain, plain) < 1e-9
    assert _divergence(theirs, as_run) < max(2e-3 * lost, 1e-7)
    # Without the queries' rounding, which is as large as that of keys in q8_0.
    assert _divergence(plain, simulated) == pytest.approx(lost, rel=0.5 if kind == "q8_0" else 0.1)
    assert _divergence(theirs, simulated) < lost * (0.7 if kind == "q8_0" else 0.1)


def _round_queries(monkeypatch: Any, head_dim: int, *, in_pairs: bool) -> None:
    """llama.cpp's CPU kernel stores queries as q8_0 to multiply them with keys of blocks."""
    original, turn = cache._function, _turn(head_dim, in_pairs, 1 << 30, torch.device("cpu"))

    def function(base: str, module: Any) -> Any:
        def attention(module: Any, query: torch.Tensor, *args: Any, **options: Any) -> Any:
            turned = query if turn is None else query @ turn
            turned = store_blocks("q8_0", turned)
            query = turned if turn is None else turned @ turn.T
            return original(base, module)(module, query, *args, **options)

        return attention

    monkeypatch.setattr(cache, "_function", function)


def _divergence(reference: torch.Tensor, other: torch.Tensor) -> float:
    p, q = (part.double().log_softmax(-1) for part in (reference, other))
    return float((p.exp() * (p - q)).sum(-1).mean())


def _loaded(folder: Path, architecture: str, **options: Any) -> tuple[ModelGraph, Any]:
    save_tiny(folder / "model", architecture, **options)
    checkpoint = open_checkpoint(folder / "model")
    graph = ModelGraph(dict(checkpoint.config), precision="fp32", device="cpu")
    graph.load(checkpoint)
    return graph, checkpoint


def test_keys_in_pairs_are_those_that_the_gguf_tables_permute():
    pairs = {"llama", "mistral", "mixtral", "olmo", "granite", "smollm3", "arcee", "ministral3"}
    others = {"qwen2", "qwen3", "gemma3_text", "gpt2", "llama4_text", "phi3", "unheard_of"}
    assert all(map(keys_in_pairs, pairs))
    assert not any(map(keys_in_pairs, others))
