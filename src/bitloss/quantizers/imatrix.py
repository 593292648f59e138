"""The importance matrix: how strongly each column of a weight matrix is used.

llama.cpp's definition (tools/imatrix/imatrix.cpp, ``collect_imatrix``): for each matrix of the
layers, the mean over all tokens of the squares of its inputs, one value a column. Neither the
embedding nor the head gets one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import NumericalError, QuantizationError

__all__ = ["Importable", "importance_matrix", "require_imatrix"]

# Parameters whose columns are not a module's inputs: experts are chosen for each token, the others
# are stored turned. llama.cpp would quantize them without the matrix, or refuse to.
_STACKED = ("_exps.weight", "attn_k_b.weight", "attn_v_b.weight", "ssm_out.weight")


class Importable(Protocol):
    """A model that activations can be collected from."""

    @property
    def path(self) -> Path:
        """Its directory or file."""

    def stored_parameters(self) -> dict[str, tuple[str, ...]]:
        """llama.cpp's names of the tensors of each parameter of transformers' module graph."""

    def load(self) -> Any:
        """transformers' model."""


def require_imatrix(source: Importable) -> None:
    """Refuse a model whose importance matrix cannot be computed completely.

    Raises:
        QuantizationError: a parameter is used by parts, as experts are.
    """
    for name, stored in source.stored_parameters().items():
        if any(tensor.endswith(_STACKED) for tensor in stored):
            raise QuantizationError(
                f"{source.path}: no importance matrix can be computed for `{name}` "
                f"(`{stored[0]}`), whose inputs differ from token to token or are transposed",
                hint="use a recipe without `-imatrix`, or make the file with llama-imatrix and "
                "llama-quantize and give it as a variant",
            )


def importance_matrix(
    source: Importable,
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
        QuantizationError: see `require_imatrix`.
    """
    import torch

    require_imatrix(source)
    stored = source.stored_parameters()
    model = source.load()
    sums: dict[str, torch.Tensor] = {}
    handles = [
        module.register_forward_pre_hook(_collector(sums, stored[f"{name}.weight"][0]))
        for name, module in model.named_modules()
        if _is_layer_matrix(stored, name, module)
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


def _is_layer_matrix(stored: Mapping[str, tuple[str, ...]], name: str, module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return (
        weight is not None
        and weight.ndim == 2
        and stored.get(f"{name}.weight", ("",))[0].startswith("blk.")
    )


def _collector(sums: dict[str, Any], name: str) -> Callable[[Any, tuple[Any, ...]], None]:
    def collect(module: Any, inputs: tuple[Any, ...]) -> None:
        del module
        rows = inputs[0].flatten(0, -2).double()
        squares = (rows * rows).sum(0)
        sums[name] = sums[name] + squares if name in sums else squares

    return collect
