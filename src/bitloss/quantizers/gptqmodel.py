"""GPTQ and AWQ through GPTQModel (https://github.com/ModelCloud/GPTQModel, 7.6).

    gptq-4                     4 bits, groups of 128 if the model's rows allow it, act-order off
    gptq-4-g64-act             groups of 64, act-order on
    gptq-8-row                 one group per row (group size -1)
    gptq-4-aga                 act-group-aware reordering on
    awq-4                      4 bits, groups as for gptq-4

A name without a group size takes the largest of 128, 64 and 32 that divides all rows of the model.
Everything that decides the bytes is passed, and nothing left to the library's defaults, which
change between versions (with ``desc_act=False`` and no ``act_group_aware``, 7.6 turns the latter
on). The number of threads decides the last bits of a sum, so it is the machine's number of cores
however many of them are free. The library, and the check whether the model's sizes fit, run in a
worker process.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from bitloss.errors import QuantizationError, UsageError
from bitloss.formats.base import ModelIdentity
from bitloss.formats.shapes import shape_of
from bitloss.quantizers.base import Quantizer
from bitloss.quantizers.grouped import (
    COMMON,
    DEFAULT_GROUPS,
    GRAMMAR,
    GroupedOptions,
    Method,
    bits_per_weight,
    describe_options,
    group_size,
    parse_options,
    write_options,
)
from bitloss.quantizers.model_files import COPIED_UNCHANGED
from bitloss.quantizers.workers import Workers, machine_cores, thread_environment
from bitloss.spec.recipe import Recipe
from bitloss.types import Progress

__all__ = ["AWQ", "GPTQ", "quantize"]

# A matrix of a numbered block, which is all that is quantized: `model.layers.0.mlp.up_proj.weight`.
_IN_BLOCK = re.compile(r"\.\d+\..*\.weight$")
# transformers' models of `Conv1D` layers, whose weights are [in, out].
_TRANSPOSED = ("gpt2", "openai-gpt")

_DTYPES = {
    "safetensors-bf16": "bfloat16",
    "safetensors-fp16": "float16",
    "safetensors-fp32": "float32",
}

# It drops sequences of this length or less (models/base.py, calibration_data_min_length).
_TOO_SHORT = 10

_ENVIRONMENT = {
    "GPTQMODEL_CPU_WORKERS": "2",  # it refuses to work with one
    "GPTQMODEL_DISABLE_PACK_EXT": "1",  # else a C++ extension is compiled at first use
    "GPTQMODEL_RESUME": "0",
    "GPTQMODEL_DISABLE_GIL_WARNING": "1",
    "DEBUG": "0",
    "TORCHDYNAMO_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # or cuBLAS sums in an order of the moment
}

# AWQ's search makes and drops tensors of tens of megabytes; to map each from the system again is a
# third of its time (glibc). What is kept instead is as much again, so small models only.
_KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
}
_SMALL = 100_000_000  # parameters

# The library imported, beside what other libraries for models take; sequences in one forward; rows
# and outputs that AWQ looks at together when it clips.
_LIBRARY_BYTES, _BATCH, _CLIPPED = 200 << 20, 8, 512 * 64


def _fit(recipe: Recipe, model: Path) -> tuple[Recipe, tuple[str, ...]]:
    """Choose the group size that the name leaves open; see `Quantizer.fit`.

    Where no group size fits, the usual one stays, which the worker then refuses with what does.
    """
    options: GroupedOptions = recipe.options
    if options.group_size is not None:
        return recipe, ()
    usual = DEFAULT_GROUPS[0]
    rows = _rows(model)
    fitting = [size for size in DEFAULT_GROUPS if all(row % size == 0 for row in rows)]
    size = fitting[0] if fitting else usual
    fitted = replace(recipe, options=replace(options, group_size=size))
    if size == usual:
        return fitted, ()
    ragged = min(row for row in rows if row % usual)
    return fitted, (f"groups of {size}: groups of {usual} do not divide rows of {ragged}",)


def _rows(model: Path) -> set[int]:
    """Row sizes of the matrices that are quantized, from the headers; empty if they are not dense.

    The layers themselves are known to transformers alone (`linear_layers`); what is refused by
    them is refused in `check_sizes`, so a mistake here is an error there.
    """
    from bitloss.quantizers.dense_copy import open_dense

    checkpoint = open_dense(model)
    if checkpoint is None:
        return set()
    axis = 0 if checkpoint.config.get("model_type") in _TRANSPOSED else 1
    shapes = [checkpoint.shape(name) for name in checkpoint.names() if _IN_BLOCK.search(name)]
    return {shape[axis] for shape in shapes if len(shape) == 2}


def _check(recipe: Recipe, model: Path) -> None:
    """Refuse a model that is quantized, or whose sizes do not fit; see `Quantizer.check`."""
    from bitloss.quantizers.gptqmodel_sizes import check_sizes

    _require_dense(recipe, model)
    check_sizes(recipe.method, recipe.options, model)


def _settings(recipe: Recipe, device: str) -> dict[str, Any]:
    return {**_arguments(recipe), "device": device.partition(":")[0], "threads": machine_cores()}


def _arguments(recipe: Recipe) -> dict[str, Any]:
    """Arguments of GPTQModel's ``GPTQConfig`` or ``AWQConfig``, as they end in the files.

    GPTQ: symmetric, damping 0.05 of the Hessian's mean diagonal (Frantar et al. 2023, section
    3.3, use 0.01; GPTQModel's default is more robust on few samples), no search for the scale
    (``mse=0``), layers of a block one after the other. AWQ: asymmetric, as in Lin et al. 2024.
    """
    options: GroupedOptions = recipe.options
    common = {
        "bits": options.bits,
        "group_size": group_size(options),
        "desc_act": options.desc_act,
        "true_sequential": True,
        "lm_head": False,
        "offload_to_disk": False,
    }
    if recipe.method == "awq":
        return {**common, "sym": False, "format": "gemm"}
    return {
        **common,
        "sym": True,
        "act_group_aware": options.act_group_aware,
        "static_groups": False,
        "damp_percent": 0.05,
        "damp_auto_increment": 0.01,
        "mse": 0.0,
        "format": "gptq",
    }


def quantize(
    recipe: Recipe,
    model: Path,
    out: Path,
    *,
    calibration: Sequence[Sequence[int]],
    device: str,
    progress: Progress,
    workers: Workers,
) -> None:
    """Make a GPTQ or AWQ copy of `model` in `out`; see `bitloss.quantizers.base.Quantize`.

    The same recipe, model, calibration and kind of device give the same weight bytes on the same
    machine, however many of its cores are free. What is not quantized (embeddings, norms, head)
    keeps the checkpoint's dtype. The exception is AWQ of a float32 model, whose layout has only 16
    bits: there it becomes bfloat16.
    """
    _require_device(device)
    _require_dense(recipe, model)
    recipe, _ = _fit(recipe, model)
    longest = max(map(len, calibration), default=0)
    if recipe.calibration is None or longest <= _TOO_SHORT:
        raise QuantizationError(
            f"recipe `{recipe.name}` needs calibration sequences of more than {_TOO_SHORT} "
            f"tokens, got {longest}",
            hint="use a longer calibration text, or one that the tokenizer was made for",
        )
    from bitloss.quantizers.dense_copy import dense_directory

    with dense_directory(model, out) as source:
        _run(recipe, source, out, calibration, device, progress, workers)


def _run(
    recipe: Recipe,
    model: Path,
    out: Path,
    calibration: Sequence[Sequence[int]],
    device: str,
    progress: Progress,
    workers: Workers,
) -> None:
    from bitloss.formats.safetensors import dense

    assert recipe.calibration is not None
    checkpoint = dense.open_checkpoint(model)
    dtype = _DTYPES[checkpoint.facts.format]
    if recipe.method == "awq" and dtype == "float32":
        dtype = "bfloat16"
    workers.run(
        "bitloss.quantizers._gptqmodel_worker",
        {
            "method": recipe.method,
            "options": asdict(recipe.options),
            "model": str(model.resolve()),
            "out": str(out.resolve()),
            "arguments": _arguments(recipe),
            "calibration": [list(map(int, ids)) for ids in calibration],
            "calibration_name": Path(recipe.calibration.corpus).name,
            "seed": recipe.seed,
            "dtype": dtype,
            "device": device,
            "threads": machine_cores(),
        },
        label=f"{recipe.name} of {model.name}",
        progress=progress,
        env=_environment(device, small=checkpoint.info.parameters <= _SMALL),
    )
    # Written by transformers from what it made of the originals, which say it in other words.
    for pattern in COPIED_UNCHANGED:
        for file in model.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, out / file.name)


def _environment(device: str, *, small: bool) -> dict[str, str]:
    """Of the worker."""
    chosen = {**_ENVIRONMENT, **thread_environment(machine_cores())}
    if device.partition(":")[0] == "cpu":
        chosen["CUDA_VISIBLE_DEVICES"] = ""
    return chosen | (_KEEP_MEMORY if small else {})


def _require_device(device: str) -> None:
    """Raise UsageError unless the device is the CPU or a CUDA device of this machine."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return
    import torch

    count = torch.cuda.device_count()
    if not (index or "0").isdecimal() or int(index or "0") >= count:
        raise UsageError(
            f"expected a CUDA device of this machine to quantize on, got `{device}` with {count} "
            "CUDA devices",
            hint="use --device cpu",
        )


def _require_dense(recipe: Recipe, model: Path) -> None:
    """Raise QuantizationError if the model is quantized, CheckpointError if there is none."""
    from bitloss.formats import open_checkpoint
    from bitloss.quantizers.dense_copy import open_dense

    if open_dense(model) is not None:
        return
    checkpoint = open_checkpoint(model)  # an error of its own where there is no model at all
    raise QuantizationError(
        f"recipe `{recipe.name}` starts from an unquantized model, got `{model}`, which is "
        f"{checkpoint.info.format}",
        hint="give the full-precision model that it was made from",
    )


def _always(options: GroupedOptions) -> bool:
    del options
    return True


def _memory_bytes(method: Method, recipe: Recipe, model: ModelIdentity) -> int:
    """At the peak of a worker, which is within a layer: every calibration token's states before and
    behind it are kept, and for AWQ the inputs of all of its matrices, twice (in awq_processor.py:
    as they come, and joined for the search, which makes the widest float32 once).
    """
    assert recipe.calibration is not None
    shape, tokens = shape_of(model), recipe.calibration.samples * recipe.calibration.length
    wide = max(shape.width, shape.inner)
    size = 4 if model.info.format == "safetensors-fp32" and method == "gptq" else 2
    forward = 4 * _BATCH * recipe.calibration.length * (8 * shape.width + 3 * shape.inner)
    if method == "awq":
        kept = tokens * (size * (12 * shape.width + 2 * shape.inner) + 4 * wide)
        search = 2 * 4 * _CLIPPED * wide
    else:
        kept = tokens * size * 4 * shape.width
        search = 3 * 4 * wide * wide  # a matrix of inputs by inputs, its inverse and its factor
    return _LIBRARY_BYTES + size * model.info.parameters + kept + max(forward, search)


def _quantizer(method: Method, *, pace: float, seconds_per_million: float) -> Quantizer:
    return Quantizer(
        method=method,
        parse=partial(parse_options, method),
        write=write_options,
        describe=partial(describe_options, method),
        bits_per_weight=bits_per_weight,
        quantize=quantize,
        common=COMMON[method],
        grammar=GRAMMAR[method],
        packages=("gptqmodel", "torch", "transformers"),
        extra="gptq",
        pace=pace,
        seconds_per_million=seconds_per_million,
        memory_bytes=partial(_memory_bytes, method),
        devices=("cpu", "cuda"),
        needs_calibration=_always,
        fit=_fit,
        check=_check,
        settings=_settings,
    )


# SmolLM2-135M-Instruct and Gemma 3 270M (benchmarks/LOG.md): 4.2 to 5.1, and 15 to 17.
GPTQ = _quantizer("gptq", pace=2.0, seconds_per_million=4.5)
AWQ = _quantizer("awq", pace=4.0, seconds_per_million=16.0)
