"""Which tensors of a GGUF file make up which parameter of the module graph."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf.families.operations import SAME, Config, Operation, Source
from bitloss.formats.gguf.families.table import Family
from bitloss.formats.gguf.files import GgufFiles

__all__ = ["Parameter", "find_source", "full_names", "resolve"]

# Tensors beside the parameters: transformers computes them from the config, which is where
# `bitloss.formats.gguf.config` puts the values of the first ones. Old converters stored the others.
_HELPERS = re.compile(
    r"^rope_(freqs|factors_long|factors_short)\.weight$"
    r"|^blk\.\d+\.(attn_rot_embd|attn\.rotary_emb).*$"
)
_INDEX = re.compile(r"\.(\d+)(?=\.)")
_BLOCK = re.compile(r"^blk\.(\d+)\.")
_KINDS = (".weight", ".bias")
_AGAIN = "download the complete file, or convert the model again with a current llama.cpp"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the module graph.

    Attributes:
        shape: dense.
        operation: how it is laid out.
        stored: llama.cpp's names of its tensors.
        index: the second index in its name, 0 without one.
    """

    shape: tuple[int, ...]
    operation: Operation
    stored: tuple[str, ...]
    index: int = 0


def find_source(family: Family, name: str) -> tuple[Source, int] | None:
    """Where a parameter comes from, its layer filled in, and the second index of its name.

    Args:
        family: of the file.
        name: transformers name.

    Returns:
        None where the family has no such parameter.
    """
    numbers = [int(index) for index in _INDEX.findall(name)][:2]
    letters = iter("ij")
    pattern = _INDEX.sub(lambda match: f".{{{next(letters, 'k')}}}", name)
    found = _sources(family).get(pattern)
    if found is None:
        return None
    stored = tuple(part.format(i=numbers[0] if numbers else 0) for part in found.stored)
    return Source(found.operation, stored), numbers[1] if len(numbers) > 1 else 0


def full_names(family: Family, names: tuple[str, ...]) -> dict[str, str]:
    """The full name of each parameter of a checkpoint that may lack the base model's prefix.

    Returns:
        ``{full name: name in the checkpoint}``, in the checkpoint's order.

    Raises:
        UnsupportedModel: a parameter is none of the family's.
    """
    prefix = next(iter(family.names)).partition(".")[0]
    found = {}
    for name in names:
        full = next(
            (form for form in (name, f"{prefix}.{name}") if find_source(family, form)), None
        )
        if full is None:
            raise UnsupportedModel(
                f"parameter `{name}` has no place in a GGUF file of architecture `{family.arch}`",
                hint="choose another file: the model has modules that its architecture does not",
            )
        found[full] = name
    return found


def resolve(
    family: Family,
    files: GgufFiles,
    config: Config,
    shapes: Mapping[str, tuple[int, ...]],
    layers: int,
) -> dict[str, Parameter]:
    """Find the tensors of each parameter, and make sure that nothing is missing or left over.

    Args:
        family: of the file.
        files: its headers.
        config: the transformers config.
        shapes: what the module graph wants, by name.
        layers: of the graph; later ones predict further tokens and are not scored.

    Returns:
        By transformers name, in file order.

    Raises:
        CheckpointError: a tensor is missing, or of another shape than the metadata implies.
        UnsupportedModel: a tensor that nothing reads.
    """
    path, found = files.paths[0], {}
    for name, shape in shapes.items():
        match = find_source(family, name)
        if match is None:
            raise UnsupportedModel(
                f"{path}: `{family.arch}` has nothing for parameter `{name}`",
                hint="choose another file: the metadata describes another model than is known",
            )
        source, index = match
        missing = [part for part in source.stored if part not in files.tensors]
        if missing:
            raise CheckpointError(
                f"{path}: no tensor `{missing[0]}`, expected for `{name}`", hint=_AGAIN
            )
        parameter = Parameter(shape, source.operation, source.stored, index)
        _check_shape(files, config, name, parameter)
        found[name] = parameter
    _refuse_leftovers(family, files, found, layers)
    order = {name: position for position, name in enumerate(files.tensors)}
    return dict(sorted(found.items(), key=lambda item: order[item[1].stored[0]]))


def _check_shape(files: GgufFiles, config: Config, name: str, parameter: Parameter) -> None:
    stored = [files.tensors[part].shape for part in parameter.stored]
    if parameter.operation is SAME:
        shape: tuple[int, ...] = stored[0]
    else:
        import torch

        try:
            tensors = [torch.empty(part, device="meta") for part in stored]
            decoded = parameter.operation.decode(tensors, config, parameter.index)
            shape = tuple(decoded.shape)
        except (RuntimeError, IndexError, ValueError):
            shape = ()
    if shape != parameter.shape:
        # A scalar's one number may be a vector of one.
        if math.prod(shape) == math.prod(parameter.shape) == 1 and shape:
            return
        raise CheckpointError(
            f"{files.paths[0]}: `{parameter.stored[0]}` for `{name}`: expected shape "
            f"{list(parameter.shape)} by the metadata, got {list(stored[0])}",
            hint=_AGAIN,
        )


def _refuse_leftovers(
    family: Family, files: GgufFiles, found: Mapping[str, Parameter], layers: int
) -> None:
    used = {part for parameter in found.values() for part in parameter.stored}
    unknown = [
        name
        for name in files.tensors
        if name not in used
        and not _HELPERS.match(name)
        and not ((match := _BLOCK.match(name)) and int(match[1]) >= layers)
    ]
    if unknown:
        raise UnsupportedModel(
            f"{files.paths[0]}: tensor `{unknown[0]}` is not part of a `{family.arch}` model as "
            "bitloss knows it" + (f", and {len(unknown) - 1} more" if len(unknown) > 1 else ""),
            hint="choose another file of the model, or another model",
        )


@lru_cache(maxsize=128)
def _sources(family: Family) -> dict[str, Source]:
    """Every parameter's source, modules taken apart into weights and biases."""
    found: dict[str, Source] = {}
    for name, stored in family.names.items():
        source = Source(SAME, (stored,)) if isinstance(stored, str) else stored
        if name.endswith(_KINDS) or _is_parameter(name, source):
            found[name] = source
            continue
        for kind in ("weight", "bias"):
            found[f"{name}.{kind}"] = source.of_module(kind)
    return found


def _is_parameter(name: str, source: Source) -> bool:
    """Whether a name without a kind is a parameter of its own: its tensor is written in full."""
    return source.stored[0].endswith((*_KINDS, ".scale", "ssm_a", "ssm_d"))
