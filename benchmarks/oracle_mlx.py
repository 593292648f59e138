"""Does bitloss read every MLX family as mlx-lm converts it?

    python3 -m venv ENV && ENV/bin/pip install torch transformers==5.24.0 'mlx[cpu]' mlx-lm
    ENV/bin/pip install -e .
    ENV/bin/python benchmarks/oracle_mlx.py

For each family a tiny random model is saved by transformers and converted by mlx-lm, dense and
quantized in every mode. Printed per family: dense parameters that differ from the original ones,
quantized matrices that differ from `mx.dequantize` (of integers by more than its own rounding of
product and sum), and the largest difference of logits between
mlx-lm's forward and transformers' of the opened copy, relative to the largest logit. Quantized
weights are float32 in both forwards, so that their rounding does not hide a difference.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.errors import BitlossError
from bitloss.formats import open_checkpoint
from bitloss.formats.safetensors import mlx as opener
from bitloss.formats.safetensors.mlx_families import FAMILIES

__all__: list[str] = []

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
# Sizes that groups of 32 divide, and keys that configs had before transformers 5.
_SIZES = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
_OLD_KEYS: dict[str, Any] = {
    "rope_theta": 10000.0, "rope_scaling": None, "partial_rotary_factor": 1.0,
    "rotary_emb_base": 10000, "rotary_pct": 0.25, "block_dim": 64, "block_ff_dim": 128,
    "block_multiple_of": 1, "block_ffn_dim_multiplier": 1.0, "mlp_bias": False, "post_norm": False,
    "qk_norm": True, "tie_word_embeddings": False, "full_attention_interval": 2,
    "norm_topk_prob": True, "num_key_value_heads": 2,
}  # fmt: skip
_LAYERS = {"layer_types": ["sliding_attention", "full_attention"]}
_EXPERTS = {"moe_intermediate_size": 64}
_LATENT = {"q_lora_rank": 32, "kv_lora_rank": 64, "qk_nope_head_dim": 32, "v_head_dim": 32,
           "qk_rope_head_dim": 16, **_EXPERTS}  # fmt: skip
_QWEN = {**_EXPERTS, "shared_expert_intermediate_size": 64}
_IDENTITY = ("model_type", "architectures")
# Changes to the tiny models, so that mlx-lm takes them.
_CHANGES: dict[str, dict[str, Any]] = {
    "deepseek_v2": _LATENT, "deepseek_v3": _LATENT, "glm4_moe": _EXPERTS,
    "gpt2": {"n_embd": 64}, "gptj": {"n_embd": 64, "rotary_dim": 8},
    "gpt_neox": {"intermediate_size": 256, "rope_parameters": {
        "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}},
    "phimoe": {"attention_bias": True},
    "mamba": {"hidden_size": 64}, "mamba2": {"hidden_size": 64, "num_heads": 8, "head_dim": 16},
    "qwen2_moe": _QWEN, "qwen3_moe": _EXPERTS, "qwen3_next": _QWEN,
    "olmo3": {"sliding_window": 64, **_LAYERS},
    "gpt_oss": {"sliding_window": 64, "rope_parameters": {
        "rope_type": "default", "rope_theta": 10000.0}},
    "mistral": {"sliding_window": 64}, "gemma2": {"sliding_window": 64},
    "cohere2": {"sliding_window": 64, **_LAYERS},
    "gemma3_text": {"sliding_window": 64, **_LAYERS},
}  # fmt: skip
_TEXT: dict[str, dict[str, Any]] = {
    "qwen3_5_moe": _QWEN, "qwen3_vl_moe": {"moe_intermediate_size": 96},
    "gemma3": {"sliding_window": 64, **_LAYERS},
    "llama4": {"num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0],
               "attention_chunk_size": 64},
}  # fmt: skip
_KEYS: dict[str, dict[str, Any]] = {
    "mamba2": {"intermediate_size": 128}, "exaone4": {"sliding_window_pattern": "LG"},
    "cohere2": {"sliding_window_pattern": 2},
    "gemma3_text": {"sliding_window_pattern": 2, "rope_theta": 1e6},
    "mistral3": {"tie_word_embeddings": True}, "qwen3_vl_moe": {"tie_word_embeddings": False},
    "gemma3": {"sliding_window_pattern": 2, "rope_theta": 1e6},
    "deepseek_v2": {"rope_scaling": {
        "type": "yarn", "factor": 1.0, "original_max_position_embeddings": 64}},
    "qwen3_5": {"full_attention_interval": 2}, "qwen3_5_moe": {"full_attention_interval": 2},
    "llama4": {"rope_theta": 10000.0, "rope_scaling": None},
}  # fmt: skip
_MODES: tuple[dict[str, Any], ...] = (
    {"bits": 4, "mode": "affine"},
    {"bits": 3, "mode": "affine"},
    {"bits": 8, "mode": "mxfp8"},
    {"bits": 4, "mode": "nvfp4", "group_size": 16},
    # A scale for each expert; MLX's forward with them needs a GPU, so only weights are compared.
    {"bits": 4, "mode": "nvfp4", "group_size": 16, "global_scale": True},
)


def _save(name: str, folder: Path) -> Any:
    from peers.tiny_architectures import TINY, save_tiny

    sizes = dict(_SIZES) if "head_dim" in TINY[name] and "hidden_size" in TINY[name] else {}
    sizes |= _CHANGES.get(name, {})
    if "text_config" in TINY[name]:
        text = {**TINY[name]["text_config"], **_SIZES, **_TEXT.get(name, {})}
        if "intermediate_size_mlp" in text:
            text["intermediate_size_mlp"] = 128
        if "mrope_section" in str(text.get("rope_parameters")):
            text["rope_parameters"] = {**text["rope_parameters"], "mrope_section": [4, 2, 2]}
        vision = dict(TINY[name]["vision_config"])
        key = "hidden_size" if "embed_dim" in vision else "out_hidden_size"
        if key in vision:
            vision[key] = 64
        sizes |= {"text_config": text, "vision_config": vision}
    return save_tiny(name, folder, **sizes)


def _old_config(name: str, folder: Path) -> dict[str, Any]:
    """Keys that mlx-lm asks for and transformers 5 stores elsewhere."""
    config = json.loads((folder / "config.json").read_text())
    text = config.get("text_config", config)
    rope = text.get("rope_parameters") or {}
    flat = {key: value for key, value in rope.items() if key != "rope_type"}
    if "mrope_section" in rope:
        flat["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    experts = {"num_experts": text.get("num_experts", text.get("num_local_experts", 0))}
    forced = _KEYS.get(name, {})
    tied = {"tie_word_embeddings": config.get("tie_word_embeddings", False)}
    old = {**_OLD_KEYS, **experts, **flat, **tied}
    old = {key: value for key, value in old.items() if key not in text} | forced
    if text is config:
        return old
    text = {key: value for key, value in text.items() if key not in _IDENTITY}
    return {**text, **old, "text_config": {**config["text_config"], **old}}


def _converted(name: str, source: Path, target: Path, settings: dict[str, Any] | None) -> Any:
    """mlx-lm's model, saved to `target`; what its converter does, without the tokenizer."""
    import mlx.core as mx
    from mlx.utils import tree_map
    from mlx_lm.utils import load_model, quantize_model, save_config, save_model

    model, config = load_model(source, model_config=_old_config(name, source))
    model.update(tree_map(lambda value: value.astype(mx.float32), model.parameters()))
    if settings is not None:
        model, config = quantize_model(model, config, **{"group_size": 32, **settings})
    save_model(target, model)
    original = json.loads((source / "config.json").read_text())
    quantization = {k: config[k] for k in ("quantization",) if k in config}
    save_config({**original, **quantization}, target / "config.json", keep_vision_config=True)
    return model


def _as_published(name: str, source: Path) -> None:
    """Put the files that `save_pretrained` wrote into the layout that mlx-lm expects."""
    from safetensors.torch import load_file, save_file

    file = source / "model.safetensors"
    tensors = load_file(file)
    if name == "gpt2":  # published without a prefix
        tensors = {key.removeprefix("transformer."): value for key, value in tensors.items()}
    elif name == "qwen3_5_moe":
        _stack_experts(tensors)
    elif name == "qwen3_vl_moe":  # published with inputs first
        tensors = {key: value.mT if ".experts." in key else value for key, value in tensors.items()}
    elif name == "gpt_oss":  # published as MXFP4, rows of outputs; this is what comes of it
        for key in [key for key in tensors if ".experts." in key]:
            value = tensors.pop(key)
            value = value.mT if value.ndim == 3 else value
            part = "bias" if key.endswith("_bias") else "weight"
            stem = key.removesuffix("_bias")
            if stem.endswith("down_proj"):
                tensors[f"{stem}.{part}"] = value
                continue
            for place, half in enumerate(("gate_proj", "up_proj")):
                tensors[f"{stem.replace('gate_up_proj', half)}.{part}"] = value[:, place::2]
    tensors = {key: value.clone().contiguous() for key, value in tensors.items()}
    save_file(tensors, file, metadata={"format": "pt"})


def _stack_experts(tensors: dict[str, torch.Tensor]) -> None:
    layers = sorted({key.split(".experts.")[0] for key in tensors if ".experts.0." in key})
    for layer in layers:
        count = sum(key.startswith(f"{layer}.experts.") for key in tensors) // 3
        made = {
            half: torch.stack([
                tensors.pop(f"{layer}.experts.{expert}.{half}.weight") for expert in range(count)
            ])
            for half in ("gate_proj", "up_proj", "down_proj")
        }  # fmt: skip
        both = torch.cat((made["gate_proj"], made["up_proj"]), dim=1)
        tensors[f"{layer}.experts.gate_up_proj"] = both
        tensors[f"{layer}.experts.down_proj"] = made["down_proj"]


def _logits(folder: Path, ids: torch.Tensor) -> tuple[ModelGraph, torch.Tensor]:
    checkpoint = open_checkpoint(folder)
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    states = graph.hidden(ids)
    return graph, head.logits(states.flatten(0, 1), 0, head.vocabulary)


def _apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _mlx_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    import mlx.core as mx
    import numpy as np

    out = model(mx.array(ids.numpy())).astype(mx.float32)
    return torch.from_numpy(np.array(out)).flatten(0, 1)


def _dequantized(folder: Path) -> tuple[int, int]:
    """Matrices that differ from `mx.dequantize`, and all of them."""
    import mlx.core as mx
    import numpy as np

    directory = opener._open_directory(folder, None)
    weights = mx.load(str(folder / "model.safetensors"))
    modules = [name.removesuffix(".scales") for name in weights if name.endswith(".scales")]
    wrong = 0
    for module in modules:
        scheme = opener.scheme_of(directory, module)
        ours = opener._read_quantized(directory.shards, module, scheme, None, torch.float32)
        codes, scales = weights[f"{module}.weight"], weights[f"{module}.scales"]
        shape = (scheme.group_size, scheme.bits, scheme.mode)
        if scheme.scaled:
            largest = weights[f"{module}.global_scale"]
            theirs = mx.stack([
                mx.dequantize(*one, None, *shape, global_scale=value)
                for *one, value in zip(codes, scales, largest, strict=True)
            ])  # fmt: skip
        else:
            theirs = mx.dequantize(codes, scales, weights.get(f"{module}.biases"), *shape)
        expected = torch.from_numpy(np.array(theirs.astype(mx.float32)))
        dtype = getattr(torch, str(theirs.dtype).rpartition(".")[2])
        wrong += not _agrees(ours, expected, dtype, summed=scheme.mode == "affine")
    return wrong, len(modules)


def _agrees(ours: torch.Tensor, theirs: torch.Tensor, dtype: torch.dtype, *, summed: bool) -> bool:
    """Whether ours, rounded to MLX's type, are its weights.

    It rounds the product and the sum of integers to the scales' type, each by half a unit in the
    last place of numbers that are at most twice the matrix's largest weight.
    """
    rounded = ours.to(dtype).float()
    if not summed or dtype == torch.float32:
        return torch.equal(rounded, theirs)
    bound = 2 * torch.finfo(dtype).eps * float(theirs.abs().max())
    return float((rounded - theirs).abs().max()) <= bound


def _family(name: str, folder: Path) -> str:
    source = folder / "source"
    original = _save(name, source)
    _as_published(name, source)
    ids = torch.randint(3, 96, (1, 21), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        truth = original(input_ids=ids).logits.flatten(0, 1)
    model = _converted(name, source, folder / "dense", None)
    _, ours = _logits(folder / "dense", ids)
    line = f"dense {_apart(ours, truth):.0e} (mlx-lm {_apart(_mlx_logits(model, ids), truth):.0e})"
    for number, settings in enumerate(_MODES):
        target = folder / f"quantized{number}"
        model = _converted(name, source, target, settings)
        wrong, count = _dequantized(target)
        line += f"  {settings['mode']} {settings['bits']}: {wrong} of {count} differ"
        if "global_scale" not in settings:
            _, ours = _logits(target, ids)
            line += f", logits {_apart(ours, _mlx_logits(model, ids)):.0e}"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", default=sorted(FAMILIES))
    parser.add_argument("--trace", action="store_true", help="show where a family fails")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in arguments.families:
        with tempfile.TemporaryDirectory() as folder:
            try:
                line = _family(name, Path(folder))
            except BitlossError as error:
                line = f"refused: {error}"
            except (Exception, SystemExit) as error:
                if arguments.trace:
                    raise
                line = f"{type(error).__name__}: {str(error)[:250]}"
        print(f"{name:20} {line}", flush=True)


if __name__ == "__main__":
    main()
