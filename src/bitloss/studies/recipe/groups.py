"""Groups of tensors that get one type, and what each type is in a file of this model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bitloss.engines.dense.swaps.hybrid import Piece
from bitloss.engines.dense.swaps.parts import Part, Places, make_part
from bitloss.formats.gguf.checkpoint import GgufCheckpoint
from bitloss.quantizers.tensor_types import StoredType, stored_types

__all__ = ["Option", "TensorGroup", "find_groups", "fixed_bytes", "layer_pattern", "mixture_of"]

_FLOATS = ("f32", "f16", "bf16", "f64")


@dataclass(frozen=True, slots=True)
class Option:
    """A type for a group.

    Attributes:
        asked: ggml's type, as llama.cpp is asked for it.
        stored: what the tensors then are, by llama.cpp's name: the same, or a fallback.
        nbytes: of all of them in the file.
    """

    asked: str
    stored: Mapping[str, str]
    nbytes: int

    @property
    def fallback(self) -> str:
        """The types that are in the place of the one asked for, joined by commas; or nothing."""
        others = sorted({kind for kind in self.stored.values() if kind != self.asked})
        return ", ".join(others)


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """Tensors that get one type.

    Attributes:
        name: ``layers-0-3.down``, ``layer-3.q``, ``embeddings``.
        kind: of the modules.
        layers: first and last; None outside of the layers.
        part: the tensors by the names of the reference's architecture.
        stored: llama.cpp's names.
        options: types that store the tensors differently, the largest first.
        same: by type, the option that stores the tensors as it does: another one's where both
            fall back to the same.
    """

    name: str
    kind: str
    layers: tuple[int, int] | None
    part: Part
    stored: tuple[str, ...]
    options: tuple[Option, ...]
    same: Mapping[str, str]

    def option(self, asked: str) -> Option:
        """The option of that type, or the one that stores the same."""
        return next(one for one in self.options if one.asked == self.same[asked])


def find_groups(
    places: Places,
    files: Mapping[str, GgufCheckpoint],
    own_name: Callable[[str], str],
    layer_groups: int,
) -> tuple[TensorGroup, ...]:
    """The groups of a model: a kind of module in neighboring layers.

    Args:
        places: of the reference's tensors.
        files: by type, a file of the model that has it in every tensor that allows one.
        own_name: a parameter's name in the files' architecture, by its name in the reference's.
        layer_groups: into how many runs of neighbors layers are put; a model with fewer layers has
            a group for each.
    """
    any_file = next(iter(files.values()))
    types = {kind: stored_types(file) for kind, file in files.items()}
    quantized = {
        name for of in types.values() for name, one in of.items() if one.type not in _FLOATS
    }
    runs = min(layer_groups, places.layers)
    edges = [places.layers * at // runs for at in range(runs + 1)] if runs else [0]
    members: dict[tuple[str, int | None], list[str]] = {}
    owner: dict[str, tuple[str, int | None]] = {}
    for name in places.names:
        parameter = any_file.parameters.get(own_name(name))
        if parameter is None or not any(part in quantized for part in parameter.stored):
            continue
        place = places.of[name]
        run = None
        if place.layer is not None:
            run = next(at for at in range(runs) if place.layer < edges[at + 1])
        key = (place.kind, run)
        # A file's tensor that is part of several parameters has one type: they belong together.
        key = next((owner[part] for part in parameter.stored if part in owner), key)
        owner |= dict.fromkeys(parameter.stored, key)
        members.setdefault(key, []).append(name)
    return tuple(
        _group(places, kind, run, edges, names, _stored(any_file, map(own_name, names)), types)
        for (kind, run), names in members.items()
    )


def _group(
    places: Places,
    kind: str,
    run: int | None,
    edges: Sequence[int],
    names: Sequence[str],
    stored: tuple[str, ...],
    types: Mapping[str, Mapping[str, StoredType]],
) -> TensorGroup:
    layers = None if run is None else (edges[run], edges[run + 1] - 1)
    if layers is None:
        name = "embeddings+head" if kind == "embeddings" and places.tied else kind
    elif layers[0] == layers[1]:
        name = f"layer-{layers[0]}.{kind}"
    else:
        name = f"layers-{layers[0]}-{layers[1]}.{kind}"
    options: list[Option] = []
    same: dict[str, str] = {}
    for asked, of in types.items():
        own = {part: of[part].type for part in stored}
        equal = next((one for one in options if own == dict(one.stored)), None)
        if equal is None:
            equal = Option(asked, own, sum(of[part].nbytes for part in stored))
            options.append(equal)
        same[asked] = equal.asked
    part = make_part(places, name, "recipe", [Piece(one) for one in names])
    return TensorGroup(name, kind, layers, part, stored, tuple(options), same)


def _stored(file: GgufCheckpoint, names: Iterable[str]) -> tuple[str, ...]:
    """llama.cpp's names of the tensors that parameters are made of."""
    return tuple(dict.fromkeys(part for one in names for part in file.parameters[one].stored))


def fixed_bytes(groups: Sequence[TensorGroup], file: GgufCheckpoint) -> int:
    """Bytes of a file that no type changes: metadata, norms and other tensors that stay floats."""
    of = stored_types(file)
    chosen = sum(of[part].nbytes for group in groups for part in group.stored)
    return file.files.file_bytes - chosen


def mixture_of(groups: Sequence[TensorGroup], file: GgufCheckpoint) -> dict[str, str]:
    """By group, the types that a file has in it, joined by commas."""
    of = stored_types(file)
    return {
        group.name: ", ".join(sorted({of[part].type for part in group.stored})) for group in groups
    }


def layer_pattern(group: TensorGroup) -> tuple[str, ...]:
    """Regular expressions for the group's tensors in a file, one per name of tensor."""
    by_suffix: dict[str, list[int]] = {}
    alone: list[str] = []
    for name in group.stored:
        found = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
        if found is None:
            alone.append(f"^{re.escape(name)}$")
        else:
            by_suffix.setdefault(found[2], []).append(int(found[1]))
    patterns = []
    for suffix, numbers in by_suffix.items():
        inside = "|".join(str(number) for number in sorted(numbers))
        block = inside if len(numbers) == 1 else f"({inside})"
        patterns.append(rf"^blk\.{block}\.{re.escape(suffix)}$")
    return (*alone, *patterns)
