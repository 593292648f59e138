"""Compare decoded AutoRound checkpoints with auto-round's own kernels, weight by weight.

Needs the package auto-round (0.16) in the Python that runs it, and a tokenizer:

    python benchmarks/oracle_auto_round.py TOKENIZER_DIR [--only NAME] [--keep DIR]

Each line is one export of a tiny random model without tuning: matrices compared, weights that
differ, and the largest difference. bitloss's weights are exact float32, so they are compared after
rounding to the type of auto-round's: none may differ.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from bitloss.formats import open_checkpoint
from bitloss.formats.safetensors.auto_round import settings_of
from bitloss.formats.storage.checkpoint import DecodedCheckpoint, quantized_modules

ASYMMETRIC = {"sym": False, "group_size": 32}
MIXED = {
    "model.layers.0.self_attn.q_proj": {"bits": 8},
    "down_proj": {"bits": 2, "group_size": 64},
    "model.layers.1.mlp.up_proj": {"bits": 16},
}
# Name, scheme, format, further arguments.
EXPORTS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("2 bits", "W2A16", "auto_round", {"group_size": 32}),
    ("3 bits", "W3A16", "auto_round", {"group_size": 32}),
    ("4 bits", "W4A16", "auto_round", {"group_size": 32}),
    ("8 bits", "W8A16", "auto_round", {"group_size": 32}),
    ("4 bits, rows", "W4A16", "auto_round", {"group_size": -1}),
    ("2 bits asymmetric", "W2A16", "auto_round", ASYMMETRIC),
    ("3 bits asymmetric", "W3A16", "auto_round", ASYMMETRIC),
    ("4 bits asymmetric gptq", "W4A16", "auto_round:auto_gptq", ASYMMETRIC),
    ("4 bits asymmetric gptqmodel", "W4A16", "auto_round:gptqmodel", ASYMMETRIC),
    ("5 bits asymmetric", "W5A16", "auto_round", ASYMMETRIC),
    ("6 bits asymmetric", "W6A16", "auto_round", ASYMMETRIC),
    ("7 bits asymmetric", "W7A16", "auto_round", ASYMMETRIC),
    ("4 bits awq", "W4A16", "auto_round:auto_awq", ASYMMETRIC),
    ("4 bits awq symmetric", "W4A16", "auto_round:auto_awq", {"sym": True, "group_size": 32}),
    ("5 bits awq", "W5A16", "auto_round:auto_awq", ASYMMETRIC),
    ("6 bits awq", "W6A16", "auto_round:auto_awq", ASYMMETRIC),
    ("7 bits awq", "W7A16", "auto_round:auto_awq", ASYMMETRIC),
    ("mixed bits", "W4A16", "auto_round", {"group_size": 32, "layer_config": MIXED}),
    ("experts", "W4A16", "auto_round", {"group_size": 32}),
    ("as gptq", "W4A16", "auto_gptq", ASYMMETRIC),
    ("as awq", "W4A16", "auto_awq", ASYMMETRIC),
    ("MXFP4", "MXFP4", "auto_round", {}),
    ("MXFP8", "MXFP8", "auto_round", {}),
    ("NVFP4", "NVFP4", "auto_round", {}),
    ("FP8 weights", "FPW8A16", "auto_round", {}),
    ("FP8 static", "FP8_STATIC", "auto_round", {}),
]


def model(*, experts: bool) -> torch.nn.Module:
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        Qwen3MoeConfig,
        Qwen3MoeForCausalLM,
    )

    sizes: dict[str, Any] = {
        "vocab_size": 49152, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False,
    }  # fmt: skip
    torch.manual_seed(0)
    if not experts:
        return LlamaForCausalLM(LlamaConfig(**sizes)).half()
    config = Qwen3MoeConfig(
        **sizes, moe_intermediate_size=64, head_dim=16, num_experts=4, num_experts_per_tok=2
    )
    return Qwen3MoeForCausalLM(config).half()


def write(
    name: str, scheme: str, form: str, options: dict[str, Any], tokenizer: Any, out: Path
) -> Path:
    from auto_round import AutoRound

    torch.manual_seed(0)
    texts = [{"input_ids": torch.randint(0, 49152, (1, 32))} for _ in range(4)]
    rounding = AutoRound(
        model(experts=name == "experts"), tokenizer, scheme=scheme, iters=0, nsamples=4, seqlen=32,
        device_map="cpu", disable_opt_rtn=True, dataset=texts, **options,
    )  # fmt: skip
    rounding.quantize_and_save(str(out), format=form)
    return next(out.rglob("config.json")).parent


def kernel_weight(checkpoint: DecodedCheckpoint, module: str) -> torch.Tensor:
    """What auto-round's own linear layer makes of a module's tensors, ``[out, in]``."""
    directory = checkpoint.directory
    stored = {
        name.removeprefix(f"{module}."): directory.shards.read(name)
        for name in directory.shards.tensors
        if name.startswith(f"{module}.")
    }
    outputs, inputs = checkpoint.shape(f"{module}.weight")
    settings = settings_of(directory, [module])[module]
    if "qweight" in stored:
        return _integers(stored, settings, inputs, outputs)
    return _floats(stored, settings, inputs, outputs)


def _integers(
    stored: dict[str, torch.Tensor], settings: dict[str, Any], inputs: int, outputs: int
) -> torch.Tensor:
    from auto_round.export.export_to_awq.utils import dequantize_gemm
    from auto_round_extension.torch import qlinear_torch, qlinear_torch_zp

    bits, size = settings["bits"], settings["group_size"]
    size = inputs if size == -1 else size
    packing = str(settings.get("packing_format", settings["quant_method"]))
    if "awq" in packing:
        dense = dequantize_gemm(stored["qweight"], stored["qzeros"], stored["scales"], bits, size)
        return dense.t()
    v1 = "gptq" in packing and "gptqmodel" not in packing
    kind = qlinear_torch_zp if v1 else qlinear_torch
    # Its kernels take a group index only for square matrices; exports have columns in order.
    order = stored.pop("g_idx", torch.arange(inputs) // size)
    assert torch.equal(order.long(), torch.arange(inputs) // size)
    linear = kind.QuantLinear(bits, size, inputs, outputs, bias=False)
    for part, tensor in stored.items():
        setattr(linear, part, tensor)
    return linear(torch.eye(inputs, dtype=torch.float16)).t()


def _floats(
    stored: dict[str, torch.Tensor], settings: dict[str, Any], inputs: int, outputs: int
) -> torch.Tensor:
    from auto_round.experimental.qmodules import mx, nvfp4
    from auto_round.schemes import QuantizationScheme

    fields = QuantizationScheme.get_attributes()
    scheme = QuantizationScheme.from_dict({k: v for k, v in settings.items() if k in fields})
    if settings["data_type"] == "fp":
        scale = stored["weight_scale"]
        return stored["weight"].to(scale.dtype) * scale.unsqueeze(1)
    kind = (
        nvfp4.NVFP4QuantLinear if "nv" in settings["data_type"]
        else mx.MXFP4QuantLinear if settings["bits"] == 4 else mx.MXFP8QuantLinear
    )  # fmt: skip
    linear = kind(inputs, outputs, config=scheme, bias=None, dtype=torch.bfloat16)
    for part, tensor in stored.items():
        setattr(linear, part, torch.nn.Parameter(tensor, requires_grad=False))
    return linear.dequant_weight_online()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", help="a directory with a tokenizer")
    parser.add_argument("--only", default="", help="exports whose name contains this")
    parser.add_argument("--keep", type=Path, help="write the exports there, or read them")
    arguments = parser.parse_args()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    root = arguments.keep or Path(tempfile.mkdtemp())
    print(f"{'export':28} {'matrices':>8} {'differ':>8} {'of':>8} {'at most':>10}  type")
    for name, scheme, form, options in EXPORTS:
        if arguments.only.lower() not in name.lower():
            continue
        out = root / name.replace(" ", "-").replace(",", "")
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            if not out.is_dir():
                write(name, scheme, form, options, tokenizer, out)
        path = next(out.rglob("config.json")).parent
        checkpoint = open_checkpoint(path)
        codes = ("qweight", "weight_scale")
        modules = [m for part in codes for m in quantized_modules(checkpoint.directory, part)]
        differ, total, most, dtype = 0, 0, 0.0, None
        for module in modules:
            ours = checkpoint.read(f"{module}.weight")
            theirs = kernel_weight(checkpoint, module)
            ours = ours.to(theirs.dtype)
            unequal = ours != theirs
            differ, total = differ + int(unequal.sum()), total + ours.numel()
            most = max(most, float((ours.float() - theirs.float()).abs().max()))
            dtype = ours.dtype
        print(f"{name:28} {len(modules):8} {differ:8} {total:8} {most:10.3g}  {dtype}")
    if arguments.keep is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
