"""What mlx-lm does to the tensors of each model type, as data.

Source: the ``sanitize`` functions of mlx-lm 0.32.2, ``models/*.py``. `benchmarks/oracle_mlx.py`
converts a tiny model of each entry with mlx-lm and compares tensors and logits. Where mlx-lm only
drops tensors that transformers does not read (rotary buffers, copies of a tied head, layers that
predict further tokens, vision), the entry is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bitloss.formats.safetensors.mlx_layout import (
    Family,
    experts,
    fused_experts,
    latent_attention,
    minus_one,
    reshaped,
    swapped,
)

__all__ = ["FAMILIES", "REFUSED"]

_SAME = Family()
_LAYER = r"(.*layers\.\d+)"
_MLP = experts(_LAYER + r"\.mlp\.switch_mlp", "{layer}.mlp.experts.{expert}.{name}.weight")
_W123 = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
_SPARSE = experts(
    _LAYER + r"\.block_sparse_moe\.switch_mlp",
    "{layer}.block_sparse_moe.experts.{expert}.{name}.weight",
    _W123,
)
_JAMBA = experts(
    _LAYER + r"\.feed_forward\.switch_mlp", "{layer}.feed_forward.experts.{expert}.{name}.weight"
)
_GRANITE = fused_experts(
    _LAYER + r"\.block_sparse_moe\.switch_mlp",
    "{layer}.block_sparse_moe.input_linear.weight",
    "{layer}.block_sparse_moe.output_linear.weight",
)
_LLAMA4 = fused_experts(
    _LAYER + r"\.feed_forward\.experts",
    "{layer}.feed_forward.experts.gate_up_proj",
    "{layer}.feed_forward.experts.down_proj",
    transposed=True,
)
# Published with inputs first. transformers takes its own module's shapes as they are, and where
# experts are square it could not tell the two apart, so these are given.
_QWEN3_VL = fused_experts(
    _LAYER + r"\.mlp\.switch_mlp",
    "{layer}.mlp.experts.gate_up_proj",
    "{layer}.mlp.experts.down_proj",
)
_GPT_OSS = tuple(
    fused_experts(
        _LAYER + r"\.mlp\.experts",
        f"{{layer}}.mlp.experts.gate_up_proj{suffix}",
        f"{{layer}}.mlp.experts.down_proj{suffix}",
        transposed=part == "weight",
        interleaved=True,
        part=part,
    )
    for part, suffix in (("weight", ""), ("bias", "_bias"))
)
_CONV1D = r".*\.conv1d\.weight"
_CONVOLUTION = swapped(_CONV1D)
# Qwen's linear attention: the norms in whose place transformers computes with 1 + weight.
_QWEN_NORMS = minus_one(
    r".*(\.input_layernorm|\.post_attention_layernorm|\.q_norm|\.k_norm|(^|\.)model\.norm"
    r"|language_model\.norm)\.weight",
    witness=_CONV1D,
)
_QWEN_LINEAR = (_CONVOLUTION, _QWEN_NORMS)
_TOWER = (
    (r"^language_model\.model\.", "model.language_model."),
    (r"^language_model\.lm_head\.", "lm_head."),
)
_OLD_TOWER = ((r"^language_model\.", ""),)
_GPT2_LINEAR = r".*\.(c_attn|c_proj|c_fc)\.weight"

FAMILIES: Mapping[str, Family] = MappingProxyType({
    **dict.fromkeys((
        "cohere", "cohere2", "ernie4_5", "exaone4", "gemma", "gemma2", "gemma3", "gemma3_text",
        "glm4", "granite", "hunyuan_v1_dense", "llama", "mistral", "nemotron", "olmo2", "olmo3",
        "phi", "phi3", "qwen2", "qwen3", "seed_oss", "smollm3", "stablelm", "starcoder2",
    ), _SAME),
    "apertus": Family(rules=(reshaped(r".*\.act_fn\.alpha_[pn]", (1,)),)),
    "deepseek_v2": Family(rules=(_MLP,)),
    "deepseek_v3": Family(rules=(_MLP, latent_attention(r".*\.self_attn"))),
    "glm4_moe": Family(rules=(_MLP,)),
    "gpt2": Family(((r"^model\.", ""),), (swapped(_GPT2_LINEAR, width=False),)),
    "gpt_neox": Family((
        (r"^model\.h\.", "gpt_neox.layers."),
        (r"^model\.embed_out\.", "embed_out."),
        (r"^model\.", "gpt_neox."),
    )),
    "gpt_oss": Family(rules=_GPT_OSS),
    "gptj": Family(((r"^model\.", "transformer."),)),
    "granitemoe": Family(rules=(_GRANITE,)),
    "jamba": Family(rules=(_JAMBA, _CONVOLUTION)),
    "lfm2": Family(rules=(swapped(r".*\.conv\.conv\.weight"),)),
    "llama4": Family(rules=(_LLAMA4,)),
    "mamba": Family(rules=(_CONVOLUTION,)),
    "mamba2": Family(rules=(_CONVOLUTION,)),
    "mistral3": _SAME,
    "mixtral": Family(rules=(_SPARSE,)),
    "olmoe": Family(rules=(_MLP,)),
    "phimoe": Family(rules=(_SPARSE,)),
    "qwen2_5_vl": Family(_OLD_TOWER),
    "qwen2_moe": Family(rules=(_MLP,)),
    "qwen2_vl": Family(_OLD_TOWER),
    "qwen3_5": Family(_TOWER, _QWEN_LINEAR),
    "qwen3_5_moe": Family(_TOWER, (_MLP, *_QWEN_LINEAR)),
    "qwen3_moe": Family(rules=(_MLP,)),
    "qwen3_next": Family(rules=(_MLP, *_QWEN_LINEAR)),
    "qwen3_vl": Family(_TOWER),
    "qwen3_vl_moe": Family(_TOWER, (_QWEN3_VL,)),
})  # fmt: skip

# Model types whose tensors cannot be had back, and why.
REFUSED: Mapping[str, str] = MappingProxyType({
    "bailing_moe": "mlx-lm normalizes the head's rows",
    "bailing_moe_linear": "mlx-lm normalizes the head's rows",
    "baichuan_m1": "mlx-lm normalizes the head's rows",
    "ernie4_5_moe": "mlx-lm drops the routers' e_score_correction_bias",
    "falcon_h1": "mlx-lm multiplies the config's factors into the weights",
    "gemma3n": "mlx-lm's names for it have not been compared with transformers'",
})  # fmt: skip
