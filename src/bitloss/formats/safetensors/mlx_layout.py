"""From the tensors of an MLX file back to those that publishers store.

mlx-lm's ``sanitize`` renames, stacks, splits, transposes and shifts tensors when it loads a
published model, and stores what comes out. A `Family` names what undoes that, as data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.storage.checkpoint import Parameter

__all__ = [
    "Family", "Rule", "Source", "experts", "fused_experts", "latent_attention", "minus_one",
    "published", "reshaped", "swapped",
]  # fmt: skip

_Value = TypeVar("_Value")
_AGAIN = "convert the model again with mlx-lm 0.32"


@dataclass(frozen=True, slots=True)
class Source:
    """A dense tensor of the file.

    Attributes:
        shape: dense.
        read: the tensor, or given a number its part along the first axis; and the type that
            quantized weights are rounded to.
    """

    shape: tuple[int, ...]
    read: Callable[[int | None, torch.dtype], torch.Tensor]


Sources = Mapping[str, Source]
Parameters = Iterator[tuple[str, Parameter]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of the tensors whose names match a pattern.

    Attributes:
        pattern: of the complete name.
        make: given all tensors and the match, the parameters that come out, with their names.
    """

    pattern: re.Pattern[str]
    make: Callable[[Sources, re.Match[str]], Parameters]


@dataclass(frozen=True, slots=True)
class Family:
    """What undoes mlx-lm's changes to a model type.

    Attributes:
        renames: patterns and replacements, applied to all names first.
        rules: the first that matches a name; names without one stay as they are.
    """

    renames: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()


def published(family: Family, sources: Sources) -> dict[str, Parameter]:
    """The parameters under their published names, in file order.

    Raises:
        CheckpointError: tensors that belong together do not fit, or two take one name.
        UnsupportedModel: tensors are laid out as by another version of mlx-lm.
    """
    renamed: dict[str, Source] = {}
    for name, source in sources.items():
        new = name
        for pattern, replacement in family.renames:
            new = re.sub(pattern, replacement, new)
        _put(renamed, new, source)
    parameters: dict[str, Parameter] = {}
    for name, source in renamed.items():
        for rule in family.rules:
            match = rule.pattern.fullmatch(name)
            if match is not None:
                for made, parameter in rule.make(renamed, match):
                    _put(parameters, made, parameter)
                break
        else:
            _put(parameters, name, Parameter(source.shape, partial(source.read, None)))
    return parameters


def _put(into: dict[str, _Value], name: str, value: _Value) -> None:
    if name in into:
        raise CheckpointError(f"expected one tensor for `{name}`, got two", hint=_AGAIN)
    into[name] = value


def swapped(pattern: str, *, width: bool = True) -> Rule:
    """The last two axes are swapped: MLX's convolutions are ``[channels, width, 1]``.

    Args:
        pattern: of the names.
        width: whether it is a convolution.
    """

    def make(sources: Sources, match: re.Match[str]) -> Parameters:
        source = sources[match[0]]
        if width and (len(source.shape) != 3 or source.shape[-1] != 1):
            raise UnsupportedModel(
                f"`{match[0]}`: expected a convolution of [channels, width, 1], as mlx-lm stores "
                f"it, got {list(source.shape)}",
                hint=_AGAIN,
            )
        shape = (*source.shape[:-2], source.shape[-1], source.shape[-2])
        yield match[0], Parameter(shape, lambda dtype: source.read(None, dtype).mT.contiguous())

    return Rule(re.compile(pattern), make)


def minus_one(pattern: str, witness: str) -> Rule:
    """Norms to whose weights mlx-lm has added one; given in float32, where that is exact.

    Args:
        pattern: of the names.
        witness: of tensors that prove the addition: mlx-lm adds only where it also moves these.
    """

    def make(sources: Sources, match: re.Match[str]) -> Parameters:
        source = sources[match[0]]
        if not any(re.fullmatch(witness, name) for name in sources):
            raise UnsupportedModel(
                f"`{match[0]}`: expected convolutions in the model, which show that mlx-lm added "
                "one to the weights of its norms, got none",
                hint="open the model that was converted instead",
            )
        exact = torch.float32
        yield match[0], Parameter(source.shape, lambda _: source.read(None, exact).float() - 1)

    return Rule(re.compile(pattern), make)


def reshaped(pattern: str, shape: tuple[int, ...]) -> Rule:
    """mlx-lm drops axes of size one."""

    def make(sources: Sources, match: re.Match[str]) -> Parameters:
        source = sources[match[0]]
        yield match[0], Parameter(shape, lambda dtype: source.read(None, dtype).reshape(shape))

    return Rule(re.compile(pattern), make)


def experts(stack: str, template: str, names: Mapping[str, str] | None = None) -> Rule:
    """Experts that mlx-lm has stacked, published one by one.

    Args:
        stack: pattern of what comes before ``.gate_proj.weight`` and the like; one group, the
            layer.
        template: of the published name, with ``{layer}``, ``{expert}``, ``{name}``.
        names: published names of the projections; None are the same.
    """

    def make(sources: Sources, match: re.Match[str]) -> Parameters:
        source, (layer, projection) = sources[match[0]], match.groups()
        name = projection if names is None else names[projection]
        for expert in range(source.shape[0]):
            yield (
                template.format(layer=layer, expert=expert, name=name),
                Parameter(source.shape[1:], partial(source.read, expert)),
            )

    return Rule(re.compile(rf"{stack}\.(gate_proj|up_proj|down_proj)\.weight"), make)


def fused_experts(
    stack: str,
    both: str,
    down: str,
    *,
    transposed: bool = False,
    interleaved: bool = False,
    part: str = "weight",
) -> Rule:
    """Experts published as one tensor, with gate and up projections in another.

    Args:
        stack: pattern of what comes before ``.gate_proj.weight``; one group, the layer.
        both: template of the published name of gate and up projections, with ``{layer}``.
        down: likewise of the down projections.
        transposed: published as ``[experts, in, out]``.
        interleaved: rows of gate and up take turns, instead of one after the other.
        part: ``weight``, or ``bias``, which has no inputs.
    """

    def joined(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        if interleaved:
            return torch.stack((gate, up), dim=1).flatten(0, 1)
        return torch.cat((gate, up))

    def stacked(
        shape: tuple[int, ...], one: Callable[[int, torch.dtype], torch.Tensor]
    ) -> Parameter:
        if transposed:
            shape = (shape[0], *reversed(shape[1:]))

        def read(dtype: torch.dtype) -> torch.Tensor:
            first = one(0, dtype)
            values = torch.empty(shape, dtype=first.dtype)
            for expert in range(shape[0]):
                value = first if expert == 0 else one(expert, dtype)
                values[expert] = value.T if transposed and value.ndim == 2 else value
            return values

        return Parameter(shape, read)

    def make(sources: Sources, match: re.Match[str]) -> Parameters:
        layer, projection = match.groups()
        source = sources[match[0]]
        if projection == "down_proj":
            yield down.format(layer=layer), stacked(source.shape, source.read)
        if projection == "gate_proj":
            other = match[0].replace("gate_proj", "up_proj")
            up = sources.get(other)
            if up is None or up.shape != source.shape:
                got = "no such tensor" if up is None else list(up.shape)
                raise CheckpointError(
                    f"`{other}`: expected {list(source.shape)}, as `{match[0]}`, got {got}",
                    hint=_AGAIN,
                )
            experts, rows, *rest = source.shape

            def both_of(expert: int, dtype: torch.dtype) -> torch.Tensor:
                return joined(source.read(expert, dtype), up.read(expert, dtype))

            yield both.format(layer=layer), stacked((experts, 2 * rows, *rest), both_of)

    return Rule(re.compile(rf"{stack}\.(gate_proj|up_proj|down_proj)\.{part}"), make)


def latent_attention(attention: str) -> Rule:
    """DeepSeek's ``kv_b_proj``, which mlx-lm splits by heads into keys and values.

    Args:
        attention: pattern of the attention's name, one group.
    """

    def make(sources: Sources, match: re.Match[str]) -> Parameters:
        module, kind = match.groups()
        keys = sources.get(f"{module}.embed_q.weight")
        values = sources.get(f"{module}.unembed_out.weight")
        if kind == "unembed_out" and keys is not None:
            return
        if keys is None or values is None or keys.shape[:2] != values.shape[::2]:
            raise CheckpointError(
                f"`{match[0]}`: expected embed_q of [heads, rank, keys] and unembed_out of "
                f"[heads, values, rank], got {keys and list(keys.shape)} and "
                f"{values and list(values.shape)}",
                hint=_AGAIN,
            )
        heads, rank, width = keys.shape
        shape = (heads * (width + values.shape[1]), rank)

        def read(dtype: torch.dtype) -> torch.Tensor:
            both = torch.cat((keys.read(None, dtype).mT, values.read(None, dtype)), dim=1)
            return both.reshape(shape)

        yield f"{module}.kv_b_proj.weight", Parameter(shape, read)

    return Rule(re.compile(rf"({attention})\.(embed_q|unembed_out)\.weight"), make)
