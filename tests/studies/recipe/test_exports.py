"""Recipes in other tools' words. Oracles: llama.cpp's documented examples and name matching, vLLM's
`get_dynamic_override` (the consumer of GPTQModel's `dynamic`), bitloss's own reader of AutoRound
files, and compressed-tensors' matching of `ignore`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from bitloss.engines.dense.swaps.hybrid import Piece
from bitloss.engines.dense.swaps.parts import Part
from bitloss.studies.recipe.exports import (
    Chosen,
    auto_round,
    export,
    gptqmodel,
    llm_compressor,
    tensor_types,
)
from bitloss.studies.recipe.groups import TensorGroup

MODULES = {
    "q": ("self_attn.q_proj", "attn_q"),
    "down": ("mlp.down_proj", "ffn_down"),
}


def chosen(kind: str, layers: range, choice: str) -> Chosen:
    module, stored = MODULES[kind]
    pieces = frozenset(Piece(f"model.layers.{n}.{module}.weight") for n in layers)
    part = Part(kind, "recipe", pieces, layers[0], False, 1000 * len(layers))
    names = tuple(f"blk.{n}.{stored}.weight" for n in layers)
    return Chosen(TensorGroup(kind, kind, (layers[0], layers[-1]), part, names, (), {}), choice)


def outside(kind: str, name: str, stored: str, choice: str) -> Chosen:
    part = Part(kind, "recipe", frozenset({Piece(name)}), 0, kind == "head", 1000)
    return Chosen(TensorGroup(kind, kind, None, part, (stored,), (), {}), choice)


RECIPE = (
    outside("embeddings", "model.embed_tokens.weight", "token_embd.weight", "q6_k"),
    chosen("q", range(12), "q3_k"),
    chosen("down", range(2), "q8_0"),
    chosen("down", range(2, 12), "q4_k"),
    outside("head", "lm_head.weight", "output.weight", "q5_k"),
)


def llama_cpp_type(name: str) -> str | None:
    """src/llama-quant.cpp: std::regex_search, the first pattern that is found."""
    return next((kind for pattern, kind in tensor_types(RECIPE) if re.search(pattern, name)), None)


def test_llama_cpp_finds_the_tensors() -> None:
    assert llama_cpp_type("token_embd.weight") == "q6_k"
    assert llama_cpp_type("output.weight") == "q5_k"
    assert llama_cpp_type("output_norm.weight") is None
    assert [llama_cpp_type(f"blk.{n}.attn_q.weight") for n in (0, 1, 11)] == ["q3_k"] * 3
    assert [llama_cpp_type(f"blk.{n}.ffn_down.weight") for n in (0, 1, 2, 10, 11)] == [
        "q8_0", "q8_0", "q4_k", "q4_k", "q4_k",
    ]  # fmt: skip
    assert llama_cpp_type("blk.12.ffn_down.weight") is None
    assert llama_cpp_type("blk.1.attn_q_norm.weight") is None


def test_llama_cpp_lines_are_as_its_tool_parses_them() -> None:
    """tools/quantize/quantize.cpp, `parse_tensor_type`: everything before the first ``=`` is the
    pattern, lowered, and the rest a ggml type.
    """
    files = export(RECIPE, "q4_k_m").files
    for line in files["tensor-types.txt"].splitlines():
        pattern, _, kind = line.partition("=")
        assert pattern == pattern.lower()
        assert kind in ("q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k")
        assert not re.search(r"\s", line)
    assert files["llama-quantize.sh"].startswith("llama-quantize \\\n  --tensor-type '")
    assert files["llama-quantize.sh"].endswith("MODEL-F32.gguf MODEL.gguf q4_k_m\n")


def dynamic_bits(config: dict[str, Any], name: str) -> int:
    """vllm/model_executor/layers/quantization/utils/gptq_utils.py, `get_dynamic_override`."""
    for pattern, override in config["dynamic"].items():
        if re.match(pattern.removeprefix("+:"), name):
            return int(override["bits"])
    return int(config["bits"])


def test_gptqmodel() -> None:
    config = gptqmodel(RECIPE)
    assert dynamic_bits(config, "model.layers.0.mlp.down_proj") == 8
    assert dynamic_bits(config, "model.layers.10.mlp.down_proj") == 4
    assert dynamic_bits(config, "model.layers.11.self_attn.q_proj") == 3
    assert all(key.startswith("+:") for key in config["dynamic"])
    assert not any("embed" in key or "lm_head" in key for key in config["dynamic"])


@pytest.mark.skipif(find_spec("gptqmodel") is None, reason="gptqmodel is not installed")
def test_gptqmodel_itself_finds_the_bits() -> None:
    """Its own `dynamic_get`, in a process of its own: importing it changes global state."""
    code = (
        "import json, sys\n"
        "from gptqmodel.quantization.config import GPTQConfig\n"
        "own = json.loads(sys.argv[1])\n"
        "config = GPTQConfig(bits=own['bits'], dynamic=own['dynamic'])\n"
        "names = json.loads(sys.argv[2])\n"
        "print(json.dumps([config.dynamic_get(n, 'bits', own['bits']) for n in names]))\n"
    )
    names = [module for one in RECIPE[1:4] for module in one.modules]
    config = gptqmodel(RECIPE)
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(config), json.dumps(names)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [dynamic_bits(config, name) for name in names]
    assert found == [3] * 12 + [8] * 2 + [4] * 10


def test_auto_round() -> None:
    config = auto_round(RECIPE)
    assert config["extra_config"]["model.layers.1.mlp.down_proj"] == {
        "bits": 8, "data_type": "int",
    }  # fmt: skip
    every = {module for one in RECIPE[1:4] for module in one.modules}
    assert set(config["extra_config"]) < every
    bits = {m: config["extra_config"].get(m, {"bits": config["bits"]})["bits"] for m in every}
    assert bits["model.layers.5.mlp.down_proj"] == 4
    assert bits["model.layers.5.self_attn.q_proj"] == 3


def test_llm_compressor_quantizes_the_others() -> None:
    """llm-compressor hands `ignore` to compressed-tensors' `apply_quantization_config`."""
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
    from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
    from transformers import LlamaConfig, LlamaForCausalLM

    own = llm_compressor(RECIPE)
    config = LlamaConfig(
        hidden_size=128, intermediate_size=128, num_hidden_layers=12, num_attention_heads=2,
        vocab_size=32,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    scheme = preset_name_to_scheme(own["scheme"], [own["targets"]])
    apply_quantization_config(
        model, QuantizationConfig(config_groups={"group_0": scheme}, ignore=own["ignore"])
    )
    quantized = {name for name, one in model.named_modules() if hasattr(one, "quantization_scheme")}
    assert "lm_head" not in quantized
    downs = [f"model.layers.{n}.mlp.down_proj" for n in range(12)]
    assert [name in quantized for name in downs] == [False] * 2 + [True] * 10
    assert {f"model.layers.{n}.self_attn.q_proj" for n in range(12)} < quantized


def test_llm_compressor() -> None:
    from compressed_tensors.utils.match import match_name

    ignore = llm_compressor(RECIPE)["ignore"]

    def ignored(name: str) -> bool:
        return any(match_name(name, target) for target in ignore)

    assert ignored("lm_head")
    assert ignored("model.layers.1.mlp.down_proj")
    assert not ignored("model.layers.10.mlp.down_proj")
    assert not ignored("model.layers.1.self_attn.q_proj")
