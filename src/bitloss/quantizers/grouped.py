"""Options of the methods that give groups of a row's weights a scale: GPTQ and AWQ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from bitloss.errors import UnknownName, UsageError
from bitloss.spec.recipe import Recipe

__all__ = [
    "COMMON",
    "DEFAULT_GROUPS",
    "GRAMMAR",
    "GroupedOptions",
    "Method",
    "bits_per_weight",
    "describe_options",
    "group_size",
    "parse_options",
    "write_options",
]

Method = Literal["gptq", "awq"]

_BITS: dict[Method, tuple[int, ...]] = {"gptq": (2, 3, 4, 8), "awq": (4,)}
COMMON: dict[Method, tuple[str, ...]] = {
    "gptq": ("gptq-8", "gptq-4", "gptq-4-g64-act", "gptq-3", "gptq-2"),
    "awq": ("awq-4",),
}
_GROUPS = (
    ("-g<N>", "groups of N weights; without it the largest of 128, 64 and 32 that fits"),
    ("-row", "one group for each row"),
)
GRAMMAR: dict[Method, tuple[tuple[str, str], ...]] = {
    "gptq": (
        (f"gptq-<{'|'.join(map(str, _BITS['gptq']))}>", "bits"),
        *_GROUPS,
        ("-act", "act-order: columns in order of falling activation"),
        ("-aga", "reordering within groups; not with -act"),
    ),
    "awq": (("awq-4", "4 bits"), *_GROUPS),
}
# What a name without a group size stands for: the first that divides the model's rows.
DEFAULT_GROUPS = (128, 64, 32)


@dataclass(frozen=True, slots=True)
class GroupedOptions:
    """Options of a method that gives groups of a row's weights a scale of their own.

    Attributes:
        bits: of a quantized weight.
        group_size: weights that share a scale; -1 is one group per row, None the largest of 128,
            64 and 32 that divides the model's rows (`Quantizer.fit`).
        desc_act: GPTQ's act-order: columns in order of falling activation, with ``g_idx``.
        act_group_aware: GPTQ's reordering within groups.
    """

    bits: int
    group_size: int | None = None
    desc_act: bool = False
    act_group_aware: bool = False


def parse_options(method: Method, text: str) -> GroupedOptions:
    """Options from the text after the method; see `Quantizer.parse`."""
    name = f"{method}-{text}"
    bits, *words = text.split("-")
    if not re.fullmatch(r"\d+", bits) or "" in words:
        raise UnknownName("recipe", name, COMMON[method])
    values: dict[str, Any] = {}
    for word in words:
        if word == "row":
            values["group_size"] = -1
        elif re.fullmatch(r"g[1-9]\d*", word):
            values["group_size"] = int(word[1:])
        elif word == "act" and method == "gptq":
            values["desc_act"] = True
        elif word == "aga" and method == "gptq":
            values["act_group_aware"] = True
        else:
            more = ", -act, -aga" if method == "gptq" else ""
            raise UnknownName(
                "recipe", name, COMMON[method],
                hint=f"remove `-{word}`: the options of {method} are -g<size>, -row{more}",
            )  # fmt: skip
    options = GroupedOptions(int(bits), **values)
    allowed = _BITS[method]
    if options.bits not in allowed:
        raise UsageError(
            f"recipe `{name}`: {method.upper()} is made with {', '.join(map(str, allowed))} bits, "
            f"got {options.bits}",
            hint=f"use `{method}-{allowed[-1]}`",
        )
    if options.desc_act and options.act_group_aware:
        raise UsageError(
            f"recipe `{name}`: expected one of `-act` and `-aga`, got both",
            hint="remove one of them",
        )
    return options


def write_options(options: GroupedOptions) -> str:
    """The shortest text that gives these options."""
    text = str(options.bits)
    if options.group_size == -1:
        text += "-row"
    elif options.group_size is not None:
        text += f"-g{options.group_size}"
    return text + "-act" * options.desc_act + "-aga" * options.act_group_aware


def describe_options(method: Method, options: GroupedOptions) -> str:
    """What options mean, in a few words."""
    row = options.group_size == -1
    groups = "one group per row" if row else f"groups of {group_size(options)}"
    order = ", act-order" * options.desc_act + ", act-group-aware" * options.act_group_aware
    return f"{method.upper()}, {options.bits} bits, {groups}{order}"


def bits_per_weight(recipe: Recipe) -> float:
    """A group's weights, with its scale in 16 bits and its zero point in as many as a weight."""
    options: GroupedOptions = recipe.options
    per_group = 0 if options.group_size == -1 else (16 + options.bits) / group_size(options)
    return options.bits + per_group


def group_size(options: GroupedOptions) -> int:
    """The group size; before a model is known, the one that most models take."""
    return DEFAULT_GROUPS[0] if options.group_size is None else options.group_size
