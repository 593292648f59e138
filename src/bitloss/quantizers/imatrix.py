"""The importance matrix: how strongly each column of a weight matrix is used.

llama.cpp's definition (tools/imatrix/imatrix.cpp, ``collect_imatrix``): for each matrix of the
layers, the mean over all tokens of the squares of its inputs, one value a column. Neither the
embedding nor the head gets one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import NumericalError
from bitloss.quantizers.gguf_writer import GgufSource

__all__ = ["importance_matrix"]


def importance_matrix(
    source: GgufSource,
    calibration: Sequence[Sequence[int]],
    *,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, NDArray[np.float32]]:
    """Run the model over the calibration sequences and average its activations' squares.

    While it builds the model, transformers sets torch's default dtype for all threads of the
    process; call this where no other thread builds a model or computes.

    Args:
        source: the model; it runs in its own dtype (fp16 in fp32).
        calibration: token ids, at least one sequence.
        advance: called with 1 after each sequence.

    Returns:
        llama.cpp's tensor name -> mean squares, shape ``[columns]``.

    Raises:
        NumericalError: the model produced NaN or infinite activations.
    """
    import torch

    model = _load(os.fspath(source.path))
    sums: dict[str, torch.Tensor] = {}
    handles = [
        module.register_forward_pre_hook(_collector(sums, source.stored_name(f"{name}.weight")))
        for name, module in model.named_modules()
        if _is_layer_matrix(source, name, module)
    ]
    try:
        with torch.inference_mode():
            for ids in calibration:
                model.base_model(input_ids=torch.tensor([list(ids)]), use_cache=False)
                advance(1)
    finally:
        for handle in handles:
            handle.remove()
    tokens = sum(len(ids) for ids in calibration)
    for name, total in sums.items():
        if not torch.isfinite(total).all():
            raise NumericalError(
                f"{source.path}: NaN or infinite inputs of `{name}`",
                hint="check the reference: it is damaged, or the calibration ids are not its own",
            )
    return {name: (total / tokens).float().numpy() for name, total in sums.items()}


def _load(path: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype="auto", local_files_only=True)
    # fp16 is the slowest type of a CPU and the narrowest; nothing is lost in fp32.
    return (model.float() if model.dtype == torch.float16 else model).eval()


def _is_layer_matrix(source: GgufSource, name: str, module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return (
        weight is not None
        and weight.ndim == 2
        and f"{name}.weight" in source.parameters
        and source.stored_name(f"{name}.weight").startswith("blk.")
    )


def _collector(sums: dict[str, Any], name: str) -> Callable[[Any, tuple[Any, ...]], None]:
    def collect(module: Any, inputs: tuple[Any, ...]) -> None:
        del module
        rows = inputs[0].flatten(0, -2).double()
        squares = (rows * rows).sum(0)
        sums[name] = sums[name] + squares if name in sums else squares

    return collect
