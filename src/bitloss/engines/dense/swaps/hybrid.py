"""A checkpoint that has some of its tensors from another one.

Both are seen under the names of the reference's own architecture, whatever their publishers call
them: a GGUF file's tensor can take the place of one in a directory of safetensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bitloss.engines.dense.architecture import named_state
from bitloss.engines.dense.checkpoint_names import CheckpointNames
from bitloss.errors import CheckpointError, Incomparable
from bitloss.formats.base import Checkpoint
from bitloss.spec.fingerprint import sha256_text

if TYPE_CHECKING:
    from bitloss.types import ModelInfo

__all__ = ["Hybrid", "NamedWeights", "Piece", "checkpoint_weights"]

_OTHER_MODEL = "choose a variant that was made from this reference"


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A tensor, or some experts of one that stacks them.

    Attributes:
        name: of the parameter in the reference's architecture.
        experts: first expert and one past the last; None is all of the tensor.
    """

    name: str
    experts: tuple[int, int] | None = None


@dataclass(frozen=True)
class NamedWeights:
    """A checkpoint's parameters under the names of the reference's architecture.

    Attributes:
        names: of the checkpoint, mapped by its own architecture.
        home: the names of the reference.
    """

    names: CheckpointNames
    home: CheckpointNames

    @property
    def label(self) -> str:
        """How the user called the model."""
        return self.names.checkpoint.info.name

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """All parameters and persistent buffers of body and head, in the graph's order.

        A tied head goes by the embedding's name, unless this checkpoint has one of its own.
        """
        architecture = self.home.architecture
        body = architecture.model.get_submodule(architecture.body)
        inside = [f"{architecture.body}.{name}" if architecture.body else name
                  for name in named_state(body)]  # fmt: skip
        head = [f"{architecture.head}.{part}" for part in ("weight", "bias")]
        own = [name for name in head if self.own_name(name) in self.names.plan.by_target]
        return (*inside, *(name for name in own if name not in inside))

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """One parameter, as `Checkpoint.read` gives it; a tied one is the one it is tied to.

        Raises:
            CheckpointError: the checkpoint has no such tensor.
        """
        found = self.names.source(self.own_name(name))
        if found is None:
            raise CheckpointError(
                f"{self.label}: the weights have no `{name}`",
                hint="download the rest of the checkpoint, or the config that belongs to it",
            )
        target, group = found
        return group.read(self.names.checkpoint, target, dtype)

    def stores(self, name: str) -> bool:
        """Whether the parameter is there under its own name, not by a tie."""
        return self.own_name(name) in self.names.plan.by_target

    def own_name(self, name: str) -> str:
        """The parameter's name in the checkpoint's own architecture."""
        head = f"{self.home.architecture.head}."
        if self.home.architecture.head and name.startswith(head):
            return f"{self.names.architecture.head}.{name.removeprefix(head)}"
        return self.names.own_name(name, self.home.architecture.body)


def checkpoint_weights(
    checkpoint: Checkpoint, reference: Checkpoint, code: Path | None = None
) -> NamedWeights:
    """A checkpoint's parameters under the names of a reference's architecture.

    Args:
        checkpoint: of the reference itself or of a variant.
        reference: names the parameters.
        code: directory of the reference's own Python code, if it is trusted.

    Raises:
        UnsupportedModel: transformers has no language model for a config.
        CheckpointError: tensors that nothing reads.
    """
    names = CheckpointNames.of(checkpoint, code)
    names.require_all_read()
    home = names if checkpoint is reference else CheckpointNames.of(reference, code)
    return NamedWeights(names, home)


@dataclass(frozen=True)
class Hybrid:
    """Satisfies `bitloss.formats.base.Checkpoint`: `base` with `pieces` from `donor`.

    Attributes:
        base: gives all other tensors; its config is the hybrid's.
        donor: gives the pieces.
        pieces: what is taken from the donor.
    """

    base: NamedWeights
    donor: NamedWeights
    pieces: frozenset[Piece]

    @classmethod
    def of(cls, base: NamedWeights, donor: NamedWeights, pieces: Iterable[Piece]) -> Hybrid:
        """Check the pieces first.

        Raises:
            CheckpointError: there is no such tensor.
        """
        wanted = frozenset(pieces)
        known = {*base.parameters, *donor.parameters}
        for piece in sorted(wanted):
            if piece.name not in known:
                raise CheckpointError(
                    f"{donor.label}: the model has no `{piece.name}` to be exchanged",
                    hint="name a tensor of the reference's architecture",
                )
        return cls(base, donor, wanted)

    @cached_property
    def info(self) -> ModelInfo:
        """The base's, with a digest of both models and the pieces."""
        base, donor = self.base.names.checkpoint.info, self.donor.names.checkpoint.info
        pieces = "\n".join(f"{piece.name} {piece.experts}" for piece in sorted(self.pieces))
        digest = sha256_text(f"{base.digest}\n{donor.digest}\n{pieces}")
        count = len(self.pieces)
        # Names tell models of a run apart, and two hybrids may take as many tensors.
        name = f"{base.name} with {count} tensors of {donor.name} ({digest[:8]})"
        return dataclasses.replace(base, name=name, digest=digest)

    @property
    def config(self) -> dict[str, Any]:
        """The base's."""
        return dict(self.base.names.checkpoint.config)

    @property
    def code(self) -> Path | None:
        """The base's."""
        return self.base.names.architecture.code

    def names(self) -> tuple[str, ...]:
        """The names of the reference's architecture; a head that either model stores is there."""
        return tuple(dict.fromkeys((*self.base.parameters, *self.donor.parameters)))

    def shape(self, name: str) -> tuple[int, ...]:
        """See `Checkpoint.shape`."""
        return tuple(self.read(name).shape)

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """See `Checkpoint.read`."""
        if Piece(name) in self.pieces:
            return self.donor.read(name, dtype)
        experts = sorted(p.experts for p in self.pieces if p.name == name and p.experts)
        own = self.base.read(name, dtype)
        if not experts:
            return own
        theirs = self.donor.read(name, dtype)
        if theirs.shape != own.shape:
            raise other_shape(self.donor.label, name, tuple(theirs.shape), tuple(own.shape))
        mixed = own.to(torch.promote_types(own.dtype, theirs.dtype)).clone()
        for first, stop in experts:
            mixed[first:stop] = theirs[first:stop]
        return mixed


def other_shape(
    label: str, name: str, got: tuple[int, ...], expected: tuple[int, ...]
) -> Incomparable:
    """The error of a tensor that cannot take another one's place."""
    return Incomparable(
        f"{label}: `{name}` has shape {list(got)}, the reference's has {list(expected)}",
        hint=_OTHER_MODEL,
    )
