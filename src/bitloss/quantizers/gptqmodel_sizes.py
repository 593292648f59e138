"""Which sizes of a model GPTQModel's kernels take; checked before the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bitloss.errors import QuantizationError
from bitloss.quantizers.grouped import GroupedOptions, group_size, write_options
from bitloss.quantizers.linear_layers import LinearLayer, linear_layers

__all__ = ["check_sizes"]

# What GPTQModel's torch kernels take (nn_modules/qlinear/torch.py and torch_awq.py).
_GROUPS = {"gptq": (16, 32, 64, 128, 256, 512, 1024), "awq": (16, 32, 64, 128)}


def check_sizes(method: str, options: GroupedOptions, model: Path) -> None:
    """Compare a recipe with the sizes of the model's linear layers.

    Builds the model without weights; see `linear_layers` for what that does to other threads.

    Raises:
        CheckpointError: no readable config.
        QuantizationError: a layer does not fit; names the first one, and recipes that do fit.
    """
    layers = linear_layers(model)
    problem = _problem(method, options, layers)
    if not problem:
        return
    fitting = _fitting(method, options, layers)
    raise QuantizationError(
        f"the recipe does not fit `{model}`: {problem}",
        hint=f"use {' or '.join(f'`{name}`' for name in fitting)} instead"
        if fitting
        else "use `gguf-q8_0` or `gguf-q4_0`, whose rows are multiples of 32: no GPTQ or AWQ "
        "group fits",
    )


def _name(method: str, options: GroupedOptions) -> str:
    return f"{method}-{write_options(options)}"


def _problem(method: str, options: GroupedOptions, layers: Sequence[LinearLayer]) -> str:
    """What does not fit, ``""`` if everything does."""
    size = group_size(options)
    if size != -1 and size not in _GROUPS[method]:
        known = ", ".join(map(str, _GROUPS[method]))
        return f"expected a group size of {known} or one group per row, got {size}"
    if size == -1 and options.act_group_aware:
        return "`-aga` reorders columns within groups, and `-row` makes one group of all"
    rules: list[Callable[[LinearLayer], str]] = [lambda layer: _ragged_group(layer, size)]
    rules.append(_awq_clip_problem if method == "awq" else _packing_problem(options.bits))
    return next((text for layer in layers for rule in rules if (text := rule(layer))), "")


def _ragged_group(layer: LinearLayer, size: int) -> str:
    # GPTQModel makes a last group that is shorter; no other kernel reads such a file.
    if size == -1 or layer.inputs % size == 0:
        return ""
    return f"`{layer.name}` has {layer.inputs} inputs, which groups of {size} do not divide"


def _packing_problem(bits: int) -> Callable[[LinearLayer], str]:
    def problem(layer: LinearLayer) -> str:
        # Codes of 2, 4 and 8 bits never cross a word's border; 3-bit codes are packed by 32.
        if bits != 3 or layer.inputs % 32 == layer.outputs % 32 == 0:
            return ""
        sizes = f"{layer.inputs} inputs and {layer.outputs} outputs"
        return f"`{layer.name}` has {sizes}; 3-bit packing needs multiples of 32"

    return problem


def _awq_clip_problem(layer: LinearLayer) -> str:
    # looper/awq_processor.py, _compute_best_clip: 64 outputs at a time, queries and keys left out.
    clipped = not any(part in layer.name for part in ("q_", "k_", "query", "key", "Wqkv"))
    multiple = 64 if clipped else 8
    if layer.outputs % multiple == 0:
        return ""
    return f"`{layer.name}` has {layer.outputs} outputs; AWQ needs a multiple of {multiple}"


def _fitting(method: str, options: GroupedOptions, layers: Sequence[LinearLayer]) -> list[str]:
    """Names of at most two recipes that fit: with other groups, else GPTQ with a group per row."""
    groups = sorted((g for g in _GROUPS[method] if g <= 128), reverse=True)
    regrouped = [(method, replace(options, group_size=size)) for size in (*groups, -1)]
    by_row = [("gptq", replace(options, bits=bits, group_size=-1)) for bits in (4, 8)]
    for candidates in (regrouped, by_row):
        names = [_name(*other) for other in candidates if not _problem(*other, layers)]
        if names:
            return names[:2]
    return []
