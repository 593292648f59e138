"""GGUF recipes, carried out by llama.cpp's own quantizer.

The model is written as an unquantized GGUF, an importance matrix is computed where the recipe asks
for one, and ``llama_model_quantize`` does the rest, byte for byte as ``llama-quantize`` would. All
of it happens in a process of its own.

Where a tensor's rows do not fit a type's blocks, llama.cpp quietly takes another type, and a file
called Q4_K_M is then largely Q5_0. Here that is an error, before the work begins. One such choice
is left to llama.cpp, because it never lowers the quality asked for: in files of the types with
blocks of 32, a head whose rows 256 does not divide is Q8_0 instead of Q6_K.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from bitloss.errors import MissingDependency, QuantizationError, UsageError
from bitloss.quantizers._subprocess import run_worker
from bitloss.quantizers.gguf_writer import GgufSource, open_source
from bitloss.spec.recipe import Recipe
from bitloss.types import Progress

__all__ = ["quantize"]

_DENSE = ("f32", "f16", "bf16")
_BLOCKS_OF_32 = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
# Types whose mixture has tensors that llama.cpp refuses to make without an importance matrix
# (src/llama-quant.cpp, tensor_requires_imatrix and llama_tensor_get_type_impl).
_NEED_IMATRIX = (
    "iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq3_xxs", "iq3_xs", "q2_k_s",
)  # fmt: skip


def quantize(
    recipe: Recipe,
    model: Path,
    out: Path,
    *,
    calibration: Sequence[Sequence[int]],
    device: str = "cpu",
    progress: Progress,
    threads: int | None = None,
) -> None:
    """Write ``model.gguf`` into the directory `out`; see `bitloss.quantizers.base.Quantizer`.

    Args:
        recipe: a GGUF recipe.
        model: directory of the dense reference.
        out: exists and is empty.
        calibration: token ids for the importance matrix; empty where the recipe has none.
        device: not used: llama.cpp quantizes on the CPU.
        progress: where to report.
        threads: of the quantizer, None for all; the result does not depend on it.

    Raises:
        QuantizationError: rows that the type's blocks do not divide, a tokenizer that GGUF cannot
            express, or a failure of llama.cpp, with its last words.
        UnsupportedModel: an architecture that cannot be written as GGUF.
        UsageError: the type needs an importance matrix and the recipe has none, or the reverse.
        MissingDependency: `gguf` or `llama_cpp` is not installed.
    """
    del device
    for package, module in (("gguf", "gguf"), ("llama-cpp-python", "llama_cpp")):
        if importlib.util.find_spec(module) is None:
            raise MissingDependency(package, f"the recipe `{recipe.name}`", extra="gguf")
    _check_imatrix(recipe, calibration)
    _check_rows(recipe, open_source(model))
    threads = threads or os.cpu_count() or 1
    run_worker(
        "bitloss.quantizers._llama_cpp_worker",
        {
            "recipe": recipe.to_dict(),
            "model": str(model.resolve()),
            "out": str(out.resolve()),
            "calibration": [list(ids) for ids in calibration] if recipe.imatrix else [],
            "threads": threads,
        },
        label=f"{recipe.name} of {model.name}",
        progress=progress,
        env={
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        },
        unit="steps",
    )


def _check_imatrix(recipe: Recipe, calibration: Sequence[Sequence[int]]) -> None:
    kind = recipe.gguf_type
    if kind in _NEED_IMATRIX and not recipe.imatrix:
        raise UsageError(
            f"recipe `{recipe.name}`: {kind} needs an importance matrix",
            hint=f"`gguf-{kind}-imatrix` computes one from the calibration text",
        )
    if kind in _DENSE and recipe.imatrix:
        raise UsageError(
            f"recipe `{recipe.name}`: an importance matrix has no effect on {kind}",
            hint=f"`gguf-{kind}`",
        )
    if recipe.imatrix and not any(calibration):
        raise UsageError(
            f"recipe `{recipe.name}`: an importance matrix needs calibration tokens, got none",
            hint="name a calibration corpus: `@web`, `@wiki`, `@code` or a file",
        )


def _check_rows(recipe: Recipe, source: GgufSource) -> None:
    """Refuse types whose blocks do not divide the rows of every quantized tensor."""
    kind = recipe.gguf_type
    block = 1 if kind in _DENSE else 32 if kind in _BLOCKS_OF_32 else 256
    rows = {
        name: source.stored_shape(name)[-1]
        for name in source.parameters
        if len(source.stored_shape(name)) == 2
        and source.stored_name(name) != "position_embd.weight"
    }
    offending = next((name for name, row in rows.items() if row % block), None)
    if offending is None:
        return
    if all(row % 32 == 0 for row in rows.values()):
        fitting = ", ".join(f"gguf-{name}" for name in _BLOCKS_OF_32)
        hint = f"these have blocks of 32 and fit: {fitting}"
    else:
        hint = "no quantized GGUF type fits this model's sizes; gguf-f16 and gguf-bf16 do"
    raise QuantizationError(
        f"recipe `{recipe.name}`: `{offending}` has rows of {rows[offending]}; "
        f"expected a multiple of {block}",
        hint=hint,
    )
