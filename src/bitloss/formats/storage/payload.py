"""What quantized tensors hold, against what their config says of them.

A label can be wrong in ways that shapes do not show: zero points of another convention, an order
of columns that nobody stored, scales that are not numbers. Each of these decodes to weights that
look like weights, so each is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import torch

from bitloss.errors import CheckpointError
from bitloss.formats.storage.directory import ModelDirectory
from bitloss.formats.storage.quant_config import OTHER_MODEL

__all__ = [
    "FLOATS", "column_groups", "refuse_listed", "refuse_orphans", "require_finite",
    "require_modules", "require_zero_points",
]  # fmt: skip

FLOATS = "F16 BF16 F32"
"""Types of scales, for `require_types`."""

_DAMAGED = "download the file and its config again: they contradict each other"


def require_modules(directory: ModelDirectory, modules: Collection[str], part: str) -> None:
    """Refuse a model that is called quantized and has no quantized module.

    Raises:
        CheckpointError: there is none.
    """
    if not modules:
        raise CheckpointError(
            f"{directory.name}: expected quantized modules, got no tensor `*.{part}`",
            hint="remove the quantization config if the weights are not quantized, or download "
            "both again",
        )


def refuse_orphans(
    directory: ModelDirectory, modules: Collection[str], parts: Iterable[str], codes: str
) -> None:
    """Refuse parts of quantized modules whose codes are missing: nothing would read them.

    Args:
        directory: the model.
        modules: those with codes.
        parts: names of what belongs to a module, like ``qzeros``.
        codes: the name of the part with the codes.

    Raises:
        CheckpointError: there is such a part.
    """
    wanted = frozenset(parts)
    for name in directory.shards.tensors:
        module, _, part = name.rpartition(".")
        if part in wanted and module not in modules:
            raise CheckpointError(
                f"{directory.name}: `{name}` has no `{module}.{codes}` beside it",
                hint="download the rest of the checkpoint",
            )


def refuse_listed(directory: ModelDirectory, modules: Iterable[str], key: str) -> None:
    """Refuse quantized modules that the config lists among those left as they are.

    A name matches a module of that name, and everything inside of it; ``re:`` marks a pattern.

    Args:
        directory: the model.
        modules: those that are stored quantized.
        key: the list's name in the quantization config; it may be missing or null.

    Raises:
        CheckpointError: a module is both.
    """
    listed = directory.quantization.get(key)
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    for module in modules if names else ():
        for name in names:
            if name.startswith("re:"):
                matched = re.match(name.removeprefix("re:"), module) is not None
            else:
                matched = f".{name.strip('.')}." in f".{module}."
            if matched:
                raise CheckpointError(
                    f"{directory.name}: `{module}` is stored quantized, and `{key}` lists `{name}` "
                    "as not quantized",
                    hint=OTHER_MODEL,
                )


def require_finite(name: str, scales: torch.Tensor) -> torch.Tensor:
    """The scales, if all of them are numbers.

    Raises:
        CheckpointError: one of them is infinite or NaN.
    """
    finite = torch.isfinite(scales)
    if not bool(finite.all()):
        raise CheckpointError(
            f"`{name}`: expected finite scales, got {int((~finite).sum())} of {scales.numel()} "
            "that are infinite or NaN",
            hint="download the checkpoint again, or quantize the model again",
        )
    return scales


def require_zero_points(name: str, zeros: torch.Tensor, bits: int, *, less_one: bool) -> None:
    """Refuse zero points of symmetric quantization that another convention would put right.

    They are all in the middle, ``2 ** (bits - 1)``. If all are one off, towards what the other of
    GPTQ's two conventions decodes them to, the label names the wrong one.

    Args:
        name: of the stored tensor.
        zeros: as decoded, any shape.
        bits: of a code.
        less_one: whether the label says that they are stored less one.

    Raises:
        CheckpointError: all are one off.
    """
    middle = 1 << (bits - 1)
    other = middle + 1 if less_one else middle - 1
    if zeros.numel() and bool((zeros == other).all()):
        says, is_ = ("v1 (`gptq`)", "v2 (`gptq_v2`)") if less_one else ("v2", "v1 (`gptq`)")
        raise CheckpointError(
            f"`{name}`: expected zero points of {middle} for symmetric {bits}-bit codes in format "
            f"{says}, got {other} throughout, as format {is_} stores them",
            hint="correct `checkpoint_format` in the quantization config, or set `sym` to false "
            "if the model is quantized asymmetrically",
        )


def column_groups(
    name: str, stored: torch.Tensor, group_size: int, *, act_order: bool, zeros_in_order: bool
) -> torch.Tensor | None:
    """The group of each column as int64, or None where columns are in order.

    Act-order moves columns, and every group keeps as many as its size says. All zeros are what
    some writers leave when they move none.

    Args:
        name: of the stored tensor.
        stored: integers, shape ``[columns]``.
        group_size: columns of a group; the last one may be short.
        act_order: whether the config says that columns are moved.
        zeros_in_order: whether all zeros are taken for columns in order.

    Raises:
        CheckpointError: the numbers are no such order.
    """
    groups = stored.long()
    columns = groups.numel()
    n_groups = -(-columns // group_size)
    if n_groups == 1 and not bool(groups.any()):
        return None
    in_order = torch.arange(columns) // group_size
    if torch.equal(groups, in_order):
        return None
    low, high = int(groups.min()), int(groups.max())
    if not 0 <= low <= high < n_groups:
        raise CheckpointError(
            f"`{name}`: expected group numbers from 0 to {n_groups - 1}, got {low} to {high}",
            hint=_DAMAGED,
        )
    if high == 0 and zeros_in_order and not act_order:
        return None
    counts = torch.bincount(groups, minlength=n_groups).sort().values
    if not torch.equal(counts, torch.bincount(in_order).sort().values):
        got = "0 throughout" if high == 0 else f"{int(counts[0])} to {int(counts[-1])} of a group"
        raise CheckpointError(
            f"`{name}`: expected {group_size} columns of each of {n_groups} groups"
            f"{' (the config says `desc_act`)' if act_order else ''}, got {got}",
            hint=_DAMAGED,
        )
    return groups
