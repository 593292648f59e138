"""Random models of real shapes, and quantized copies of real formats, for measuring speed.

Speed does not depend on what the weights are, so GPTQ and AWQ files are filled with random codes
instead of being quantized for an hour.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

# Qwen2-0.5B's config.json.
QWEN2_HALF_B: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "dtype": "bfloat16",
    "torch_dtype": "bfloat16",
}


def dense(folder: Path, tokenizer: Path, config: dict[str, Any] = QWEN2_HALF_B) -> Path:
    """A model with normal random weights in bf16; made once, kept for the next time."""
    if (folder / "config.json").is_file():
        return folder
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=torch.bfloat16)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    for path in tokenizer.iterdir():
        if path.name != "config.json":
            shutil.copyfile(path, folder / path.name)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return folder


def packed(reference: Path, folder: Path, *, method: str, bits: int) -> Path:
    """A copy of the reference whose linear layers hold random GPTQ or AWQ codes, groups of 128."""
    from safetensors import safe_open

    if (folder / "config.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(bits)
    tensors: dict[str, torch.Tensor] = {}
    with safe_open(reference / "model.safetensors", "pt") as source:
        for name in source.keys():  # noqa: SIM118 - not a mapping
            value = source.get_tensor(name)
            if value.ndim == 2 and "layers" in name:
                tensors |= _codes(name.removesuffix(".weight"), value, method, bits, generator)
            else:
                tensors[name] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((reference / "config.json").read_text())
    layout = {
        "gptq": {"desc_act": False, "sym": False, "checkpoint_format": "gptq"},
        "awq": {"zero_point": True, "version": "gemm"},
    }[method]
    config["quantization_config"] = {
        "quant_method": method, "bits": bits, "group_size": 128, **layout
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return folder


def _codes(
    name: str, weight: torch.Tensor, method: str, bits: int, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    rows, columns = weight.shape[1], weight.shape[0]  # in and out features
    groups, per = -(-rows // 128), 32 // bits
    limits = -(2**31), 2**31 - 1

    def words(*shape: int) -> torch.Tensor:
        return torch.randint(*limits, shape, dtype=torch.int32, generator=generator)

    shapes = (rows // per, columns) if method == "gptq" else (rows, columns // per)
    found = {
        f"{name}.qweight": words(*shapes),
        f"{name}.qzeros": words(groups, columns // per),
        f"{name}.scales": torch.full((groups, columns), 0.04 / 2**bits, dtype=torch.float16),
    }
    if method == "gptq":
        found[f"{name}.g_idx"] = torch.arange(rows, dtype=torch.int32) // 128
    return found
