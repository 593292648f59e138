"""Files as mlx-lm writes them, by a packer and a `sanitize` of our own.

``benchmarks/oracle_mlx.py`` does the same with MLX itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from peers.packing import pack_rows

__all__ = ["CHANGES", "affine", "floats", "to_mlx", "write_mlx"]

# The magnitudes of E2M1, and the value of a byte as E4M3, by their definitions.
_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def _e4m3(byte: int) -> float:
    sign, exponent, mantissa = (-1) ** (byte >> 7), byte >> 3 & 15, byte & 7
    if exponent == 15 and mantissa == 7:
        return float("nan")
    return sign * (
        mantissa / 8 * 2**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    )


def affine(
    shape: tuple[int, ...], bits: int, group: int, dtype: torch.dtype, seed: int = 0
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Random codes of a matrix, or of a stack; the stored tensors, and the dense one in float64."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, shape, generator=generator)
    groups = (*shape[:-1], shape[-1] // group)
    scales = (torch.rand(groups, generator=generator) + 0.1).to(dtype)
    biases = torch.randn(groups, generator=generator).to(dtype)
    words = pack_rows(codes.view(-1, shape[-1]).tolist(), bits)
    product = codes * scales.double().repeat_interleave(group, -1)
    stored = {
        "weight": words.view(torch.uint32).view(*shape[:-1], -1), "scales": scales,
        "biases": biases,
    }  # fmt: skip
    return stored, product + biases.double().repeat_interleave(group, -1)


def floats(
    shape: tuple[int, ...], mode: str, seed: int = 0
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The same for ``mxfp4``, ``mxfp8`` and ``nvfp4``; dense in float64."""
    generator = torch.Generator().manual_seed(seed)
    bits, group = {"mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}[mode]
    codes = torch.randint(0, 2**bits, shape, generator=generator)
    codes[codes % 128 == 127] = 0  # NaN
    groups = (*shape[:-1], shape[-1] // group)
    scales = torch.randint(120 if mode != "nvfp4" else 1, 127, groups, generator=generator)
    signed = [*_E2M1, *(-value for value in _E2M1)]
    table = signed if bits == 4 else [_e4m3(byte) for byte in range(256)]
    kinds = [_e4m3(byte) if mode == "nvfp4" else 2.0 ** (byte - 127) for byte in range(256)]
    dense = torch.tensor(table, dtype=torch.float64)[codes]
    dense *= torch.tensor(kinds, dtype=torch.float64)[scales].repeat_interleave(group, -1)
    words = pack_rows(codes.view(-1, shape[-1]).tolist(), bits)
    packed = words.view(torch.uint32).view(*shape[:-1], -1)
    return {"weight": packed, "scales": scales.to(torch.uint8)}, dense


def write_mlx(
    path: Path,
    tensors: dict[str, torch.Tensor],
    quantization: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """A directory with the marks of mlx-lm: the settings twice, the file's format."""
    path.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    values |= config
    if quantization is not None:
        values |= {"quantization": quantization, "quantization_config": quantization}
    (path / "config.json").write_text(json.dumps(values), encoding="utf-8")
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "mlx"})
    return path


def _stack(tensors: dict[str, torch.Tensor], inside: str, to: str, names: dict[str, str]) -> None:
    """Experts `inside` a layer under `names` become one tensor in `to`, in order of number."""
    pattern = re.compile(rf"(.*)\.{re.escape(inside)}\.(\d+)\.({'|'.join(names)})\.weight")
    found: dict[str, dict[int, torch.Tensor]] = {}
    for match in [match for match in map(pattern.fullmatch, list(tensors)) if match]:
        layer, expert, name = match.groups()
        stack = found.setdefault(f"{layer}.{to}.{names[name]}.weight", {})
        stack[int(expert)] = tensors.pop(match[0])
    for name, stack in found.items():
        tensors[name] = torch.stack([stack[expert] for expert in sorted(stack)])


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _moe(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    names = _same("gate_proj", "up_proj", "down_proj")
    _stack(tensors, "mlp.experts", "mlp.switch_mlp", names)


def _mixtral(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    names = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
    _stack(tensors, "block_sparse_moe.experts", "block_sparse_moe.switch_mlp", names)


def _granite(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    for key in [key for key in tensors if ".input_linear." in key]:
        value, stem = tensors.pop(key), key.split("input_linear")[0] + "switch_mlp"
        tensors[f"{stem}.gate_proj.weight"], tensors[f"{stem}.up_proj.weight"] = value.chunk(2, 1)
        tensors[f"{stem}.down_proj.weight"] = tensors.pop(key.replace("input", "output"))


def _deepseek(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    _moe(tensors, config)
    for key in [key for key in tensors if key.endswith("kv_b_proj.weight")]:
        heads = tensors.pop(key).view(config["num_attention_heads"], -1, config["kv_lora_rank"])
        keys = config["qk_nope_head_dim"]
        stem = key.removesuffix("kv_b_proj.weight")
        tensors[f"{stem}embed_q.weight"] = heads[:, :keys].mT
        tensors[f"{stem}unembed_out.weight"] = heads[:, keys:]


def _gpt_oss(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    for key in [key for key in tensors if ".experts." in key]:
        value = tensors.pop(key)
        stem, part = key.removesuffix("_bias"), "bias" if key.endswith("_bias") else "weight"
        value = value.mT if value.ndim == 3 else value
        if stem.endswith("down_proj"):
            tensors[f"{stem}.{part}"] = value
        else:
            stem = stem.removesuffix("gate_up_proj")
            tensors[f"{stem}gate_proj.{part}"] = value[:, 0::2]
            tensors[f"{stem}up_proj.{part}"] = value[:, 1::2]


def _convolution(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    for key, value in tensors.items():
        if re.search(r"conv(1d)?\.weight$", key):
            tensors[key] = value.mT


def _qwen(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    _moe(tensors, config)
    _convolution(tensors, config)
    ends = ("input_layernorm.weight", "post_attention_layernorm.weight", "model.norm.weight",
            "q_norm.weight", "k_norm.weight")  # fmt: skip
    for key, value in tensors.items():
        if key.endswith(ends):
            tensors[key] = value + 1


def _gpt2(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    for key in list(tensors):
        value = tensors.pop(key)
        turned = re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", key) is not None
        tensors[key.replace("transformer.", "model.")] = value.T if turned else value


def _tower(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    for key in list(tensors):
        value = tensors.pop(key)
        if ".visual." not in key:
            key = key.replace("model.language_model.", "model.")
            tensors[f"language_model.{key}"] = value


# By model type: what mlx-lm's `sanitize` does to the published tensors, in place.
CHANGES: dict[str, Callable[[dict[str, torch.Tensor], dict[str, Any]], None]] = {
    "deepseek_v3": _deepseek, "gpt2": _gpt2, "gpt_oss": _gpt_oss, "granitemoe": _granite,
    "lfm2": _convolution, "llama": lambda tensors, config: None, "mamba": _convolution,
    "mixtral": _mixtral, "qwen3_moe": _moe, "qwen3_next": _qwen, "qwen3_vl": _tower,
}  # fmt: skip


def to_mlx(name: str, source: Path, target: Path) -> Path:
    """Convert a directory that transformers saved."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(source / "model.safetensors")
    CHANGES[name](tensors, config)
    return write_mlx(target, tensors, None, **config)
