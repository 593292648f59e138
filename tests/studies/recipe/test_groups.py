"""Groups of tensors. Oracles: llama.cpp's table of fallbacks (src/llama-quant.cpp,
`tensor_type_fallback`), and the shapes of models made for the tests.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.swaps.hybrid import checkpoint_weights
from bitloss.engines.dense.swaps.parts import Places
from bitloss.engines.dense.swaps.resume import LayerStack
from bitloss.formats import open_checkpoint
from bitloss.formats.gguf.checkpoint import GgufCheckpoint
from bitloss.formats.gguf.checkpoint import open_checkpoint as open_gguf
from bitloss.quantizers.tensor_types import TypedFile, make_all_typed
from bitloss.studies.recipe.groups import TensorGroup, find_groups, fixed_bytes, layer_pattern
from bitloss.types import SilentProgress
from peers.tiny_model import write_tiny_model

pytestmark = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)
TYPES = ("q8_0", "q6_k", "q2_k")
SIZES: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2,
    "max_position_embeddings": 128, "vocab_size": 256, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip


def save(folder: Path, config: Any) -> Path:
    """A random model with the tiny model's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    write_tiny_model(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def groups_of(
    folder: Path, cache: Path, *, layer_groups: int, types: tuple[str, ...] = TYPES
) -> tuple[tuple[TensorGroup, ...], dict[str, GgufCheckpoint]]:
    reference = open_checkpoint(folder)
    base = checkpoint_weights(reference, reference)
    graph = ModelGraph(dict(reference.config), precision="fp32", device="cpu")
    graph.load(reference)
    stack = LayerStack(graph)
    paths = make_all_typed(
        [TypedFile("q4_k_m", ((".", kind),), kind) for kind in types], folder,
        model_digest=folder.name, name="all", cache=cache, progress=SilentProgress(),
    )  # fmt: skip
    files = {kind: open_gguf(path) for kind, path in zip(types, paths, strict=True)}
    places = Places(base, stack.path, len(stack))
    any_file = checkpoint_weights(next(iter(files.values())), reference)
    return find_groups(places, files, any_file.own_name, layer_groups), files


def test_tied_heads_fallbacks_and_rows_that_nothing_divides(tmp_path: Path) -> None:
    """64 columns: no K-quant fits, so Q6_K is Q8_0 and Q2_K is Q4_0. 172 are divided by no block:
    such tensors stay F16, whatever is asked for, and are in no group.
    """
    from transformers import LlamaConfig

    config = LlamaConfig(**SIZES, intermediate_size=172, tie_word_embeddings=True)
    folder = save(tmp_path / "tied", config)
    groups, files = groups_of(folder, tmp_path / "cache", layer_groups=2)
    names = {group.name for group in groups}
    assert {"embeddings+head", "layer-0.q", "layers-1-2.q", "layers-1-2.gate"} <= names
    assert not any("down" in name or name == "head" for name in names)
    by_name = {group.name: group for group in groups}
    one = by_name["layers-1-2.q"]
    assert [option.asked for option in one.options] == ["q8_0", "q2_k"]
    assert one.same == {"q8_0": "q8_0", "q6_k": "q8_0", "q2_k": "q2_k"}
    assert one.option("q6_k").fallback == ""
    assert one.option("q2_k").fallback == "q4_0"
    assert by_name["embeddings+head"].part.head
    assert layer_pattern(one) == (r"^blk\.(1|2)\.attn_q\.weight$",)
    chosen = sum(group.option("q2_k").nbytes for group in groups)
    assert fixed_bytes(groups, files["q8_0"]) + chosen == files["q2_k"].files.file_bytes


def test_experts_of_a_layer_have_one_type(tmp_path: Path) -> None:
    from transformers import Qwen3MoeConfig

    config = Qwen3MoeConfig(
        **SIZES, intermediate_size=128, moe_intermediate_size=64, num_experts=4,
        num_experts_per_tok=2, norm_topk_prob=True, head_dim=32, mlp_only_layers=[],
    )  # fmt: skip
    folder = save(tmp_path / "moe", config)
    groups, _ = groups_of(folder, tmp_path / "cache", layer_groups=8, types=("q8_0", "q2_k"))
    by_name = {group.name: group for group in groups}
    up = by_name["layer-1.experts-gate-up"]
    assert up.stored == ("blk.1.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight")
    assert "layer-1.experts-down" in by_name
    assert not any("router" in name for name in by_name)  # llama.cpp leaves routers as they are
