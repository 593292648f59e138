"""Architectures that the tests compare with transformers' own forward, by model type.

Others are read by the same rules and refused by name where a rule does not fit; these are known to
give transformers' hidden states and logits. ``tests/engines/dense/test_architectures.py`` reads
this table, and ``bitloss list architectures`` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ARCHITECTURES", "ONE_AT_A_TIME", "describe_architectures"]

ARCHITECTURES: Mapping[str, str] = MappingProxyType({
    "apertus": "Apertus",
    "bloom": "BLOOM",
    "cohere": "Command R",
    "cohere2": "Command R7B and A",
    "deepseek_v2": "DeepSeek V2, mixture of experts",
    "deepseek_v3": "DeepSeek V3 and R1, mixture of experts",
    "ernie4_5": "ERNIE 4.5",
    "ernie4_5_moe": "ERNIE 4.5, mixture of experts",
    "exaone4": "EXAONE 4",
    "falcon": "Falcon",
    "falcon_h1": "Falcon H1, attention and state space",
    "gemma": "Gemma",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3 with vision, text model",
    "gemma3_text": "Gemma 3",
    "gemma3n_text": "Gemma 3n",
    "gemma4_text": "Gemma 4",
    "glm4": "GLM 4",
    "glm4_moe": "GLM 4.5, mixture of experts",
    "gpt2": "GPT-2",
    "gpt_bigcode": "StarCoder, SantaCoder",
    "gpt_neo": "GPT-Neo",
    "gpt_neox": "GPT-NeoX, Pythia",
    "gpt_oss": "gpt-oss, mixture of experts",
    "gptj": "GPT-J",
    "granite": "Granite",
    "granitemoe": "Granite, mixture of experts",
    "hunyuan_v1_dense": "Hunyuan",
    "hunyuan_v1_moe": "Hunyuan, mixture of experts",
    "jamba": "Jamba, attention and state space, mixture of experts",
    "lfm2": "LFM2, attention and convolution",
    "llama": "Llama 1 to 3, SmolLM2 and many others",
    "llama4": "Llama 4 with vision, text model, mixture of experts",
    "llama4_text": "Llama 4, mixture of experts",
    "mamba": "Mamba",
    "mamba2": "Mamba 2",
    "minimax": "MiniMax, linear attention, mixture of experts",
    "mistral": "Mistral",
    "mistral3": "Mistral Small 3 with vision, text model",
    "mixtral": "Mixtral, mixture of experts",
    "mpt": "MPT",
    "nemotron": "Nemotron",
    "olmo": "OLMo",
    "olmo2": "OLMo 2",
    "olmo3": "OLMo 3",
    "olmoe": "OLMoE, mixture of experts",
    "opt": "OPT",
    "phi": "Phi 1 and 2",
    "phi3": "Phi 3 and 4",
    "phimoe": "Phi 3.5, mixture of experts",
    "qwen2": "Qwen 2 and 2.5",
    "qwen2_5_vl": "Qwen 2.5 VL, text model",
    "qwen2_moe": "Qwen 1.5 and 2, mixture of experts",
    "qwen2_vl": "Qwen 2 VL, text model",
    "qwen3": "Qwen 3",
    "qwen3_5": "Qwen 3.5, linear attention, text model",
    "qwen3_5_moe": "Qwen 3.5, linear attention, mixture of experts, text model",
    "qwen3_moe": "Qwen 3, mixture of experts",
    "qwen3_next": "Qwen 3 Next, linear attention, mixture of experts",
    "qwen3_vl": "Qwen 3 VL, text model",
    "qwen3_vl_moe": "Qwen 3 VL, mixture of experts, text model",
    "seed_oss": "Seed-OSS",
    "smollm3": "SmolLM3",
    "stablelm": "StableLM",
    "starcoder2": "StarCoder 2",
})  # fmt: skip

# Their tokens meet elsewhere than in attention as packing knows it: in states passed along layers,
# in attention sinks, in biases by distance, or in an attention of the class's own.
ONE_AT_A_TIME = frozenset({
    "bloom", "deepseek_v2", "deepseek_v3", "falcon", "falcon_h1", "gpt_neo", "gpt_oss", "jamba",
    "lfm2", "llama4", "llama4_text", "mamba", "mamba2", "minimax", "mpt", "qwen3_5", "qwen3_5_moe",
    "qwen3_next",
})  # fmt: skip


def describe_architectures() -> dict[str, str]:
    """What each architecture is, and whether prompts share the work of common prefixes."""
    return {
        name: f"{text} (one sequence at a time)" if name in ONE_AT_A_TIME else text
        for name, text in ARCHITECTURES.items()
    }
