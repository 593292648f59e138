"""Parts of a model, as lists of tensors: kinds of modules, layers, groups of experts.

A *division* cuts a model into parts that have no tensor in common and leave none out, so that the
losses of its parts can be held against the loss of the whole.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from bitloss.engines.dense.swaps.hybrid import NamedWeights, Piece
from bitloss.errors import UnknownName

__all__ = ["DIVISIONS", "EMBEDDINGS", "HEAD", "WHOLE", "Part", "Place", "Places", "divide"]

EMBEDDINGS, HEAD, OTHER, WHOLE = "embeddings", "head", "other", "whole"
DIVISIONS = MappingProxyType(
    {
        "kinds": "kinds of modules (q, k, v, o, gate, up, down, embeddings, head)",
        "layers": "layers",
        "tensors": "one kind of module in one layer",
        "experts": "groups of experts of one layer",
    }
)
_EXPERT_GROUPS = 4
# Last names of modules, as transformers' classes have them; a dash needs the name before it.
_KINDS = MappingProxyType(
    {
        "q": ("q_proj", "q_a_proj", "q_b_proj", "query"),
        "k": ("k_proj", "key"),
        "v": ("v_proj", "value"),
        "kv": ("kv_a_proj_with_mqa", "kv_b_proj"),
        "qkv": ("qkv_proj", "attn.c_attn", "query_key_value", "Wqkv", "W_pack"),
        "o": (
            "o_proj", "attn.out_proj", "attn.c_proj", "attention.dense", "self_attn.dense",
            "self_attention.dense",
        ),
        "gate": ("gate_proj",),
        "up": ("up_proj", "fc1", "mlp.c_fc", "dense_h_to_4h", "fc_in"),
        "down": ("down_proj", "fc2", "mlp.c_proj", "dense_4h_to_h", "fc_out"),
        "gate-up": ("gate_up_proj",),
        "router": ("router", "gate", "mlp.gate"),
    }
)  # fmt: skip
_NORM = re.compile(r"norm|ln_|layernorm", re.IGNORECASE)
_SHARED = re.compile(r"(^|\.)shared_experts?\.")
_EXPERTS = re.compile(r"(^|\.)experts\.(?!\d)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor is in a model.

    Attributes:
        kind: of its module, as users name it.
        layer: its number; None outside of the layers.
        experts: how many experts the tensor stacks; 0 for none.
    """

    kind: str
    layer: int | None
    experts: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """Tensors that are exchanged together.

    Attributes:
        name: ``"down"``, ``"layer-3"``, ``"layer-3.down"``, ``"layer-3.experts-0-7"``.
        division: which it belongs to.
        pieces: the tensors.
        first_layer: the first layer that differs with them; 0 for embeddings, the number of layers
            for tensors behind all layers.
        head: whether the output head is among them.
        weights: how many numbers they have.
    """

    name: str
    division: str
    pieces: frozenset[Piece]
    first_layer: int
    head: bool
    weights: int


@dataclass(frozen=True)
class Places:
    """The tensors of a model by place.

    Attributes:
        weights: of the reference.
        stack: path of the list of layers in the body; empty if there is none.
        layers: how many there are.
        compared: further models whose own heads count, although the reference's is tied.
    """

    weights: NamedWeights
    stack: str
    layers: int
    compared: tuple[NamedWeights, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """Of all parameters."""
        every = (self.weights, *self.compared)
        return tuple(dict.fromkeys(name for one in every for name in one.parameters))

    @property
    def tied(self) -> bool:
        """Whether embeddings and head are one tensor, in all the models."""
        return self._head_weight not in self.names

    @cached_property
    def _head_weight(self) -> str:
        return f"{self.weights.home.architecture.head}.weight"

    @cached_property
    def of(self) -> Mapping[str, Place]:
        """The place of each parameter."""
        return {name: self._place(name) for name in self.names}

    def is_head(self, name: str) -> bool:
        """Whether a parameter belongs to the output head, by its own name."""
        head = self.weights.home.architecture.head
        return head is not None and name.startswith(f"{head}.")

    def size(self, name: str) -> int:
        """Numbers of a parameter."""
        return self._shapes[name][1]

    def experts(self, name: str) -> int:
        """Experts that a parameter stacks; 0 for none."""
        return self.of[name].experts

    @cached_property
    def _shapes(self) -> Mapping[str, tuple[tuple[int, ...], int]]:
        model = self.weights.home.architecture.model
        state = model.state_dict()
        return {
            name: (tuple(state[name].shape), state[name].numel())
            for name in self.names
            if name in state
        }

    def _place(self, name: str) -> Place:
        architecture = self.weights.home.architecture
        if self.is_head(name):
            return Place(HEAD, None)
        if name == architecture.embedding:
            return Place(EMBEDDINGS, None)
        prefix = f"{architecture.body}." if architecture.body else ""
        inside = name.removeprefix(prefix)
        found = re.match(rf"{re.escape(self.stack)}\.(\d+)\.(.+)", inside) if self.stack else None
        if found is None:
            return Place(OTHER, None)
        shape = self._shapes.get(name, ((), 0))[0]
        experts = shape[0] if len(shape) == 3 and _EXPERTS.search(found[2]) else 0
        return Place(_kind(found[2]), int(found[1]), experts)


def _kind(path: str) -> str:
    """The kind of a parameter by its path in a layer."""
    module = re.sub(r"\.(weight|bias)$", "", path)
    if _NORM.search(module.rpartition(".")[2]):
        return OTHER
    dotted = f".{module}"
    kind = next(
        (
            kind
            for kind, names in _KINDS.items()
            if any(dotted.endswith(f".{name}") for name in names)
        ),
        module.rpartition(".")[2].replace("_", "-"),
    )
    if _SHARED.search(module):
        return f"shared-{kind}"
    return f"experts-{kind}" if _EXPERTS.search(module) else kind


def divide(
    places: Places, divisions: Sequence[str], differing: Collection[str]
) -> dict[str, tuple[Part, ...]]:
    """The parts of a model.

    Args:
        places: of the model's tensors.
        divisions: names in `DIVISIONS`.
        differing: parameters that the variants have otherwise than the reference: parts have no
            others.

    Raises:
        UnknownName: no such division, or the model has no experts to divide.
    """
    found: dict[str, tuple[Part, ...]] = {}
    for division in divisions:
        if division not in DIVISIONS:
            raise UnknownName("division into parts", division, tuple(DIVISIONS))
        groups: dict[str, list[Piece]] = {}
        for name in places.names:
            if name in differing:
                for label, piece in _labels(places, name, division):
                    groups.setdefault(label, []).append(piece)
        if division == "experts" and not any("experts-" in label for label in groups):
            raise UnknownName(
                "division into parts", division, [one for one in DIVISIONS if one != "experts"]
            )
        found[division] = tuple(
            make_part(places, label, division, pieces) for label, pieces in groups.items()
        )
    return found


def make_part(places: Places, name: str, division: str, pieces: Iterable[Piece]) -> Part:
    """A part of these tensors."""
    own = frozenset(pieces)
    ties = places.tied and any(places.of[piece.name].kind == EMBEDDINGS for piece in own)
    return Part(
        name,
        division,
        own,
        min(_first_layer(places, piece.name) for piece in own),
        ties or any(places.is_head(piece.name) for piece in own),
        sum(_numbers(places, piece) for piece in own),
    )


def _first_layer(places: Places, name: str) -> int:
    place = places.of[name]
    if place.layer is not None:
        return place.layer
    if place.kind == HEAD:
        return places.layers
    prefix = places.weights.home.architecture.body
    behind = name.removeprefix(f"{prefix}.").startswith(("norm.", "final_layernorm.", "ln_f."))
    return places.layers if behind else 0


def _numbers(places: Places, piece: Piece) -> int:
    size = places.size(piece.name)
    if piece.experts is None:
        return size
    return size // places.experts(piece.name) * (piece.experts[1] - piece.experts[0])


def _labels(places: Places, name: str, division: str) -> list[tuple[str, Piece]]:
    """The parts that a tensor belongs to: several where its experts are divided."""
    place, whole = places.of[name], Piece(name)
    outside = place.kind
    if outside == EMBEDDINGS and places.tied:
        outside = f"{EMBEDDINGS}+{HEAD}"
    if division == "kinds" or place.layer is None:
        return [(outside, whole)]
    layer = f"layer-{place.layer}"
    if division == "layers":
        return [(layer, whole)]
    if division == "tensors":
        return [(f"{layer}.{place.kind}", whole)]
    if not place.experts:
        return [("all-else", whole)]
    count = place.experts
    groups = min(_EXPERT_GROUPS, count)
    edges = [count * at // groups for at in range(groups + 1)]
    return [
        (f"{layer}.experts-{first}-{stop - 1}", Piece(name, (first, stop)))
        for first, stop in itertools.pairwise(edges)
    ]
