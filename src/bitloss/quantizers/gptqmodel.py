"""GPTQ and AWQ through GPTQModel (https://github.com/ModelCloud/GPTQModel, 7.6).

Sizes that the recipe does not fit are found before the work starts. Everything that decides the
bytes is passed, and nothing left to the library's defaults, which change between versions (with
``desc_act=False`` and no word on it, 7.6 turns ``act_group_aware`` on).
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitloss.errors import MissingDependency, QuantizationError, UsageError
from bitloss.quantizers._subprocess import run_worker
from bitloss.quantizers.linear_layers import LinearLayer, linear_layers
from bitloss.spec.recipe import Recipe
from bitloss.types import Progress

__all__ = ["check_recipe", "quantization_device", "quantize", "settings"]

# What GPTQModel's torch kernels take (nn_modules/qlinear/torch.py and torch_awq.py).
_GROUPS = {"gptq": (16, 32, 64, 128, 256, 512, 1024), "awq": (16, 32, 64, 128)}

_DTYPES = {
    "safetensors-bf16": "bfloat16",
    "safetensors-fp16": "float16",
    "safetensors-fp32": "float32",
}

# It drops sequences of this length or less (models/base.py, calibration_data_min_length).
_TOO_SHORT = 10

# Written by transformers from what it made of the originals, which say the same in other words.
_KEPT_AS_IT_IS = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "spiece.model", "generation_config.json", "chat_template*",
)  # fmt: skip

_ENVIRONMENT = {
    "GPTQMODEL_CPU_WORKERS": "2",  # it refuses to work with one
    "GPTQMODEL_DISABLE_PACK_EXT": "1",  # else a C++ extension is compiled at first use
    "GPTQMODEL_RESUME": "0",
    "GPTQMODEL_DISABLE_GIL_WARNING": "1",
    "DEBUG": "0",
    "TORCHDYNAMO_DISABLE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # or cuBLAS sums in an order of the moment
}

# AWQ's search makes and drops tensors of tens of megabytes; to map each from the system anew is a
# third of its time (glibc). What is kept instead is as much again, so small models only.
_KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
}
_SMALL = 100_000_000  # parameters


def quantize(
    recipe: Recipe,
    model: Path,
    out: Path,
    *,
    calibration: Sequence[Sequence[int]],
    device: str = "cpu",
    progress: Progress,
) -> None:
    """Make a GPTQ or AWQ copy of `model` in `out`; see `bitloss.quantizers.base.Quantizer`.

    The same recipe, model and calibration give the same weight bytes on the same machine. What is
    not quantized (embeddings, norms, head) keeps the checkpoint's dtype, but for AWQ of a float32
    model, whose layout knows 16 bits only: there it becomes bfloat16.
    """
    from bitloss.formats import dense  # brings torch

    if importlib.util.find_spec("gptqmodel") is None:
        raise MissingDependency("gptqmodel", f"recipe `{recipe.name}`", extra="gptq")
    device = quantization_device(device)
    check_recipe(recipe, model)
    if not calibration or max(map(len, calibration)) <= _TOO_SHORT:
        raise QuantizationError(
            f"recipe `{recipe.name}` needs calibration sequences of more than {_TOO_SHORT} "
            f"tokens, got {max(map(len, calibration), default=0)}",
            hint="use a longer calibration text, or one that the tokenizer was made for",
        )
    checkpoint = dense.open_checkpoint(model)
    dtype = _DTYPES[checkpoint.facts.format]
    if recipe.method == "awq" and dtype == "float32":
        dtype = "bfloat16"
    run_worker(
        "bitloss.quantizers._gptqmodel_worker",
        {
            "method": recipe.method,
            "model": str(model.resolve()),
            "out": str(out.resolve()),
            "settings": settings(recipe),
            "calibration": [list(map(int, ids)) for ids in calibration],
            "calibration_name": Path(recipe.calibration).name,
            "seed": recipe.seed,
            "dtype": dtype,
            "device": device,
        },
        label=f"{recipe.name} of {model.name}",
        progress=progress,
        env=_environment(device, small=checkpoint.info.parameters <= _SMALL),
    )
    for pattern in _KEPT_AS_IT_IS:
        for file in model.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, out / file.name)


def _environment(device: str, *, small: bool) -> dict[str, str]:
    """Of the worker."""
    without_gpu = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return _ENVIRONMENT | without_gpu | (_KEEP_MEMORY if small else {})


def settings(recipe: Recipe) -> dict[str, Any]:
    """Arguments of GPTQModel's ``GPTQConfig`` or ``AWQConfig``, as they end in the files.

    GPTQ: symmetric, damping 0.05 of the Hessian's mean diagonal (Frantar et al. 2023, section
    3.3, use 0.01; GPTQModel's default is more robust on few samples), no search for the scale
    (``mse=0``), layers of a block one after the other. AWQ: asymmetric, as in Lin et al. 2024.
    """
    common = {
        "bits": recipe.bits,
        "group_size": recipe.group_size,
        "desc_act": recipe.desc_act,
        "true_sequential": True,
        "lm_head": False,
        "offload_to_disk": False,
    }
    if recipe.method == "awq":
        return {**common, "sym": False, "format": "gemm"}
    return {
        **common,
        "sym": True,
        "act_group_aware": recipe.act_group_aware,
        "static_groups": False,
        "damp_percent": 0.05,
        "damp_auto_increment": 0.01,
        "mse": 0.0,
        "format": "gptq",
    }


def quantization_device(device: str) -> str:
    """The device, if GPTQModel can quantize on it here.

    Raises:
        UsageError: neither cpu nor cuda, or no such device here.
    """
    if device == "cpu":
        return device
    import torch

    if device.split(":")[0] != "cuda" or not torch.cuda.is_available():
        found = f"{torch.cuda.device_count()} CUDA devices"
        raise UsageError(
            f"device: expected `cpu`, `cuda` or `cuda:N`, got `{device}` with {found}",
            hint="leave --device out to quantize on the CPU",
        )
    return device


def check_recipe(recipe: Recipe, model: Path) -> None:
    """Hold the recipe against the model's sizes, before any work is done.

    Raises:
        CheckpointError: there is no complete model.
        QuantizationError: the model is quantized already or its sizes do not fit the recipe;
            names the first layer, and a recipe that does fit, where there is one.
    """
    from bitloss.formats import dense, open_checkpoint

    if not dense.matches(model):
        held = open_checkpoint(model)  # an error of its own where there is no model at all
        raise QuantizationError(
            f"recipe `{recipe.name}` starts from an unquantized model, got `{model}`, which is "
            f"{held.info.format}",
            hint="give the full-precision model that it was made from",
        )
    layers = linear_layers(model)
    fault = _fault(recipe, layers)
    if fault:
        others = _others(recipe, layers)
        raise QuantizationError(
            f"recipe `{recipe.name}` does not fit `{model}`: {fault}",
            hint=f"these fit: {', '.join(f'`{name}`' for name in others)}"
            if others
            else "no GPTQ or AWQ group fits; `gguf-q8_0` and `gguf-q4_0` take rows of 32",
        )


def _fault(recipe: Recipe, layers: Sequence[LinearLayer]) -> str:
    size = recipe.group_size
    if size != -1 and size not in _GROUPS[recipe.method]:
        known = ", ".join(map(str, _GROUPS[recipe.method]))
        return f"expected a group size of {known} or one group a row, got {size}"
    if size == -1 and recipe.act_group_aware:
        return "`-aga` reorders columns within groups, and `-row` makes one group of all"
    rules: list[Callable[[LinearLayer], str]] = [lambda layer: _ragged_group(layer, size)]
    rules.append(_awq_clip_fault if recipe.method == "awq" else _packing_fault(recipe.bits))
    return next((fault for layer in layers for rule in rules if (fault := rule(layer))), "")


def _ragged_group(layer: LinearLayer, size: int) -> str:
    # GPTQModel makes a last group that is shorter; no other kernel reads such a file.
    if size == -1 or layer.inputs % size == 0:
        return ""
    return f"`{layer.name}` has {layer.inputs} inputs, which groups of {size} do not divide"


def _packing_fault(bits: int) -> Callable[[LinearLayer], str]:
    def fault(layer: LinearLayer) -> str:
        # Codes of 2, 4 and 8 bits never cross a word's border; 3-bit codes are packed by 32.
        if bits != 3 or layer.inputs % 32 == layer.outputs % 32 == 0:
            return ""
        sizes = f"{layer.inputs} inputs and {layer.outputs} outputs"
        return f"`{layer.name}` has {sizes}; 3-bit packing needs multiples of 32"

    return fault


def _awq_clip_fault(layer: LinearLayer) -> str:
    # looper/awq_processor.py, _compute_best_clip: 64 outputs at a time, queries and keys left out.
    clipped = not any(part in layer.name for part in ("q_", "k_", "query", "key", "Wqkv"))
    if layer.outputs % (64 if clipped else 8) == 0:
        return ""
    multiple = 64 if clipped else 8
    return f"`{layer.name}` has {layer.outputs} outputs; AWQ needs a multiple of {multiple}"


def _others(recipe: Recipe, layers: Sequence[LinearLayer]) -> list[str]:
    groups = sorted((g for g in _GROUPS[recipe.method] if g <= 128), reverse=True)
    sizes = [replace(recipe, group_size=size) for size in (*groups, -1)]
    bits = [replace(recipe, method="gptq", bits=bits, group_size=-1) for bits in (4, 8)]
    fitting = [other.name for other in sizes if not _fault(other, layers)]
    return (fitting or [other.name for other in bits if not _fault(other, layers)])[:2]
