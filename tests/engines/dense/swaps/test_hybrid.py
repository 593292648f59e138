"""Hybrids and swaps. Oracles: transformers' own model with the tensors copied in by hand, and the
dense scorer on the same hybrid as a checkpoint.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.engines.dense.swaps.hybrid import Hybrid, Piece, checkpoint_weights
from bitloss.engines.dense.swaps.parts import DIVISIONS, Places, divide
from bitloss.engines.dense.swaps.resume import LayerStack
from bitloss.engines.dense.swaps.scorer import Swap, SwapScorer
from bitloss.errors import CheckpointError, Incomparable, UnknownName, UsageError
from bitloss.studies.sensitivity.subjects import named_parts
from bitloss.types import Window
from peers.random_models import CONFIGS, MemoryCheckpoint, opened

IDS = torch.arange(40).reshape(2, 20) % 97
MOE: dict[str, Any] = {
    "model_type": "qwen3_moe", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 101,
    "max_position_embeddings": 64, "num_experts": 8, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "decoder_sparse_step": 1, "mlp_only_layers": [],
}  # fmt: skip


def make(config: dict[str, Any], seed: int) -> tuple[Any, MemoryCheckpoint]:
    """transformers' model with random weights, and the same as a checkpoint."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    tied = model.config.tie_word_embeddings
    tensors = {
        name: value.detach().clone()
        for name, value in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    full = {**model.config.to_dict(), "model_type": config["model_type"]}
    return model, MemoryCheckpoint(f"{config['model_type']}-{seed}", full, tensors)


def nearby(model: Any, checkpoint: MemoryCheckpoint) -> tuple[Any, MemoryCheckpoint]:
    """A variant: every tensor a little off."""
    other = copy.deepcopy(model)
    torch.manual_seed(9)
    with torch.no_grad():
        for value in other.parameters():
            value += 0.03 * torch.randn_like(value)
    state = other.state_dict()
    tensors = {name: state[name].detach().clone() for name in checkpoint.tensors}
    return other, MemoryCheckpoint("variant", dict(checkpoint.config), tensors)


def logits(checkpoint: Any) -> torch.Tensor:
    """What the dense engine gives for a checkpoint."""
    graph = ModelGraph(dict(checkpoint.config), precision="fp32", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    return head.logits(graph.hidden(IDS).flatten(0, 1), 0, head.vocabulary)


def by_hand(model: Any, other: Any, names: list[str]) -> MemoryCheckpoint:
    """A dense checkpoint with the named tensors copied over."""
    mixed = copy.deepcopy(model)
    state, theirs = mixed.state_dict(), other.state_dict()
    with torch.no_grad():
        for name in names:
            state[name].copy_(theirs[name])
    tied = mixed.config.tie_word_embeddings
    tensors = {n: v for n, v in state.items() if not (tied and n == "lm_head.weight")}
    return MemoryCheckpoint(
        "mixed", {**mixed.config.to_dict(), "model_type": mixed.config.model_type}, tensors
    )


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("llama", ["model.layers.1.mlp.down_proj.weight"]),
        ("llama", ["model.embed_tokens.weight"]),
        ("llama", ["lm_head.weight"]),
        ("llama-tied", ["model.embed_tokens.weight"]),
        ("qwen2", [f"model.layers.0.self_attn.q_proj.{part}" for part in ("weight", "bias")]),
        ("gpt2", ["transformer.h.1.attn.c_attn.weight"]),
        ("gemma2", ["model.layers.0.mlp.gate_proj.weight", "model.norm.weight"]),
    ],
)  # fmt: skip
def test_a_hybrid_is_the_model_with_the_tensors_copied_in(
    architecture: str, names: list[str]
) -> None:
    model, reference = make(CONFIGS[architecture], 0)
    other, variant = nearby(model, reference)
    base, donor = (checkpoint_weights(one, reference) for one in (reference, variant))
    hybrid = Hybrid.of(base, donor, [Piece(name) for name in names])
    assert torch.equal(logits(hybrid), logits(by_hand(model, other, names)))
    assert not torch.equal(logits(hybrid), logits(reference))
    back = Hybrid.of(donor, base, [Piece(name) for name in hybrid.names()])
    assert torch.equal(logits(back), logits(reference))


def test_some_experts_of_a_stacked_tensor() -> None:
    model, reference = make(MOE, 0)
    other, variant = nearby(model, reference)
    base, donor = (checkpoint_weights(one, reference) for one in (reference, variant))
    (name,) = [n for n in base.parameters if "layers.1" in n and "down_proj" in n]
    mixed = Hybrid.of(base, donor, [Piece(name, (2, 5))]).read(name)
    ours, theirs = model.state_dict()[name], other.state_dict()[name]
    assert torch.equal(mixed[2:5], theirs[2:5])
    assert torch.equal(mixed[:2], ours[:2])
    assert torch.equal(mixed[5:], ours[5:])


def test_a_tensor_that_is_not_there_is_refused() -> None:
    _, reference = make(CONFIGS["llama"], 0)
    base = checkpoint_weights(reference, reference)
    with pytest.raises(CheckpointError, match=r"no `model\.layers\.7"):
        Hybrid.of(base, base, [Piece("model.layers.7.mlp.down_proj.weight")])


@pytest.mark.parametrize("architecture", [*sorted(CONFIGS), "moe"])
def test_a_forward_from_a_layer_is_the_full_one(architecture: str) -> None:
    _, checkpoint = make(MOE if architecture == "moe" else CONFIGS[architecture], 1)
    graph = ModelGraph(dict(checkpoint.config), precision="fp32", device="cpu")
    graph.load(checkpoint)
    stack = LayerStack(graph)
    assert stack.works
    states, before = stack.record(IDS)
    assert torch.equal(states, graph.hidden(IDS))
    for layer in range(len(before)):
        assert torch.equal(stack.resume(IDS, layer, before[layer]), states)
    wrong = stack.resume(IDS, 1, before[1] + 0.1)
    assert not torch.equal(wrong, states)  # the state given is the one that is used
    assert torch.equal(graph.hidden(IDS), states)  # and nothing is left patched


def test_layers_that_depend_on_earlier_ones_are_found_out() -> None:
    """A layer that reads what an earlier one left behind cannot be begun at."""
    _, checkpoint = make(CONFIGS["llama"], 1)
    graph = ModelGraph(dict(checkpoint.config), precision="fp32", device="cpu")
    graph.load(checkpoint)
    left: list[torch.Tensor] = []
    graph.body.layers[0].self_attn.register_forward_hook(
        lambda m, a, out: left.append(out[0])  # type: ignore[arg-type]
    )
    graph.body.layers[1].register_forward_hook(lambda m, a, out: out + left.pop())
    assert not LayerStack(graph).works


def windows(count: int, length: int = 21) -> list[Window]:
    rng = np.random.default_rng(0)
    return [
        Window(rng.integers(2, 100, size=length).astype(np.int32), 1 + i % 4, place=i)
        for i in range(count)
    ]


@pytest.mark.parametrize("architecture", ["llama", "llama-tied", "gpt2", "gemma2", "moe"])
def test_swaps_are_scored_as_their_hybrids(architecture: str, tmp_path: Any) -> None:
    """Oracle: `DenseScorer` on the hybrid as a checkpoint, the same windows in one forward."""
    from bitloss.engines.evaluate import evaluate, make_scorer
    from bitloss.engines.values import Candidate, Setup
    from bitloss.runner.store import RunStore
    from bitloss.types import SilentProgress

    model, reference = make(MOE if architecture == "moe" else CONFIGS[architecture], 0)
    _, variant = nearby(model, reference)
    base, donor = (checkpoint_weights(one, reference) for one in (reference, variant))
    scorer = SwapScorer(opened(reference))
    scorer.load("reference", base)
    scorer.load("variant", donor)
    places = Places(base, scorer.stack.path, len(scorer.stack), (donor,))
    divisions = [name for name in DIVISIONS if name != "experts" or architecture == "moe"]
    parts = [p for own in divide(places, divisions, places.names).values() for p in own]
    swaps = [Swap("reference", "variant", part) for part in parts]
    swaps += [Swap("variant", "reference", part) for part in parts]
    swaps.append(Swap("variant", "variant", None))
    text = windows(6)
    found = scorer.score(text, 0, swaps)

    store = RunStore(tmp_path)
    setup = Setup(store=store, reference=Candidate(opened(reference)), progress=SilentProgress())
    dense = make_scorer(setup, "dense")
    pieces = dense.pieces(text)
    for swap in swaps:
        home, other = (base, donor) if swap.home == "reference" else (donor, base)
        pieces_of = swap.part.pieces if swap.part is not None else []
        hybrid: Any = Hybrid.of(home, other, pieces_of)
        candidate = Candidate(opened(hybrid))
        records = store.read_token_records(
            evaluate(dense, pieces, [candidate]).records_of(candidate)
        )
        sums = np.bincount(records.window, weights=records.kl_divergence.astype(np.float64))
        assert np.array_equal(found[swap.key].kl_divergence, sums), swap.key
        assert np.array_equal(found[swap.key].window, np.arange(6))
    full = SwapScorer(opened(reference), reuse=False)
    full.load("reference", base)
    full.load("variant", donor)
    again = full.score(text, 0, swaps)
    assert all(np.array_equal(again[k].kl_divergence, found[k].kl_divergence) for k in again)
    assert scorer.work.layers < full.work.layers


def test_a_division_leaves_nothing_out() -> None:
    _, reference = make(MOE, 0)
    base = checkpoint_weights(reference, reference)
    graph = ModelGraph(dict(reference.config), precision="fp32", device="cpu")
    graph.load(reference)
    stack = LayerStack(graph)
    places = Places(base, stack.path, len(stack))
    for division, parts in divide(places, list(DIVISIONS), places.names).items():
        assert sum(part.weights for part in parts) == sum(map(places.size, places.names)), division
        pieces = [piece for part in parts for piece in part.pieces]
        assert len(pieces) == len(set(pieces))
    kinds = {part.name for part in divide(places, ["kinds"], places.names)["kinds"]}
    assert kinds == {
        "embeddings", "q", "k", "v", "o", "other", "router", "experts-gate-up", "experts-down",
        "head",
    }  # fmt: skip


def test_what_a_model_cannot_be_divided_into() -> None:
    _, reference = make(CONFIGS["llama"], 0)
    base = checkpoint_weights(reference, reference)
    places = Places(base, "layers", 2)
    with pytest.raises(UnknownName):
        divide(places, ["experts"], places.names)
    with pytest.raises(UnknownName):
        divide(places, ["heads"], places.names)


def test_another_models_tensor_is_refused() -> None:
    _, reference = make(CONFIGS["llama"], 0)
    _, wider = make({**CONFIGS["llama"], "intermediate_size": 64}, 0)
    base, donor = (checkpoint_weights(one, reference) for one in (reference, wider))
    scorer = SwapScorer(opened(reference))
    scorer.load("reference", base)
    scorer.add_donor("wider", donor)
    places = Places(base, scorer.stack.path, len(scorer.stack), (donor,))
    down = next(p for p in divide(places, ["kinds"], places.names)["kinds"] if p.name == "down")
    with pytest.raises(Incomparable, match=r"down_proj"):
        scorer.score(windows(2), 0, [Swap("reference", "wider", down)])


def test_single_parts_leave_the_rest_to_one_more() -> None:
    """A tensor of which some experts are named is left in pieces; nothing is lost or twice."""
    _, reference = make(MOE, 0)
    base = checkpoint_weights(reference, reference)
    places = Places(base, "layers", 2)
    chosen = named_parts(places, ["layer-1.experts-2-3", "q"], frozenset(places.names))
    assert [part.name for part in chosen] == ["layer-1.experts-2-3", "q", "all-else"]
    assert sum(part.weights for part in chosen) == sum(map(places.size, places.names))
    down = next(n for n in places.names if "layers.1" in n and "experts.down" in n)
    pieces = {p.experts for part in chosen for p in part.pieces if p.name == down}
    assert pieces == {(0, 2), (2, 4), (4, 8)}
    with pytest.raises(UsageError, match="in common"):
        named_parts(places, ["layer-1.experts-2-3", "layer-1"], frozenset(places.names))


def test_a_reference_with_another_config_is_another_model() -> None:
    """Weights alone do not decide numbers: records of one rope base are no other one's."""
    _, reference = make(CONFIGS["llama"], 0)
    other = MemoryCheckpoint(
        reference.info.name, {**reference.config, "rms_norm_eps": 0.1}, reference.tensors
    )
    first, second = (SwapScorer(opened(one)) for one in (reference, other))
    assert first.identity(opened(reference), 2048) == first.identity(opened(reference), 2048)
    assert first.identity(opened(reference), 2048) != second.identity(opened(other), 2048)
    exact = SwapScorer(opened(reference), precision="bf16")
    assert exact.identity(opened(reference), 2048) != first.identity(opened(reference), 2048)
