"""Runs in ModelOpt's environment: quantizes a directory's model by each recipe and exports it.

    ENV/bin/python benchmarks/modelopt_export.py MODEL OUT RECIPE...

``oracle/oracle.safetensors`` in each export has the weights as ModelOpt's own tensors dequantize
what was exported, in float32.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import modelopt.torch.quantization as mtq
import torch
import transformers
from modelopt.torch.export import export_hf_checkpoint
from modelopt.torch.quantization.qtensor.fp8_tensor import FP8QTensor
from modelopt.torch.quantization.qtensor.mxfp4_tensor import MXFP4QTensor
from modelopt.torch.quantization.qtensor.mxfp8_tensor import MXFP8QTensor
from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor
from safetensors.torch import load_file, save_file


def recipe(name: str) -> dict[str, Any]:
    """ModelOpt's recipe by name; ``A+B`` takes B for the layers' second projections."""
    first, _, second = name.partition("+")
    config: dict[str, Any] = copy.deepcopy(getattr(mtq, first))
    if second:
        other = copy.deepcopy(getattr(mtq, second))
        for entry in other["quant_cfg"]:
            if entry.get("quantizer_name") in ("*weight_quantizer", "*input_quantizer"):
                entry["quantizer_name"] = entry["quantizer_name"].replace("*", "*down_proj*", 1)
                config["quant_cfg"].append(entry)
    return config


def dequantized(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every exported weight, decoded by ModelOpt."""
    result = {}
    for name, scale in tensors.items():
        if not name.endswith(".weight_scale"):
            continue
        module = name.removesuffix(".weight_scale")
        weight, second = tensors[f"{module}.weight"], tensors.get(f"{module}.weight_scale_2")
        shape = (weight.shape[0], weight.shape[1] * (2 if weight.dtype == torch.uint8 else 1))
        made = (torch.Size(shape), torch.float32, weight)
        if weight.dtype == torch.uint8 and second is not None:
            tensor: Any = NVFP4QTensor(*made)
            more = {"double_scale": second, "block_sizes": {-1: 16}}
        elif weight.dtype == torch.uint8:
            tensor, more = MXFP4QTensor(*made), {"block_sizes": {-1: 32}}
            scale = scale.reshape(-1, 1)
        elif scale.dtype == torch.uint8:
            tensor, more = MXFP8QTensor(*made), {}
        else:
            tensor, more = FP8QTensor(*made), {}
            scale = scale.reshape(scale.shape[0], -1) if scale.ndim == 4 else scale
            if scale.ndim == 2:
                size = -(-shape[0] // scale.shape[0])
                more = {"block_sizes": {-1: size, -2: size}}
            elif scale.ndim == 1:
                scale = scale[:, None]
        dense = tensor.dequantize(torch.float32, scale=scale, **more)
        smooth = tensors.get(f"{module}.pre_quant_scale")
        if smooth is not None:
            dense = dense * smooth.float()
        result[f"{module}.weight"] = dense.contiguous()
    return result


@torch.no_grad()
def main() -> None:
    source, out, *names = sys.argv[1:]
    ids = torch.randint(3, 90, (4, 32), generator=torch.Generator().manual_seed(0))
    for name in names:
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.float32
        ).eval()
        mtq.quantize(model, recipe(name), lambda quantized: quantized(ids))
        folder = Path(out) / name
        export_hf_checkpoint(model, dtype=torch.bfloat16, export_dir=folder)
        tensors = {}
        for file in folder.glob("*.safetensors"):
            tensors |= load_file(file)
        beside = folder / "oracle"
        beside.mkdir(exist_ok=True)
        save_file(dequantized(tensors), beside / "oracle.safetensors")
        kinds = sorted({key.rpartition(".")[2] for key in tensors if "scale" in key})
        config = json.loads((folder / "hf_quant_config.json").read_text())["quantization"]
        print(f"{name}: {config['quant_algo']}; {', '.join(kinds)}", flush=True)


if __name__ == "__main__":
    main()
