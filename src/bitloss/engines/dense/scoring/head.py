"""A model's own head: post-norm hidden states to logits, a block of the vocabulary at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from bitloss.engines.dense.checkpoint_names import CheckpointNames
from bitloss.engines.dense.precision import Precision, arithmetic, storage_dtype
from bitloss.engines.dense.scoring.logit_finish import Finish, finish_of
from bitloss.engines.dense.scoring.stored_rows import StoredRows, rows_in_file
from bitloss.engines.values import Candidate
from bitloss.errors import CheckpointError, NumericalError
from bitloss.formats.base import Checkpoint, checkpoint_rows
from bitloss.formats.naming import Group

__all__ = ["Head", "StoredHead", "load_head", "load_stored_head", "read_head", "weights_of"]

# Rows that are looked at together where a weight is not in memory.
_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Head:
    """Everything between a model's final norm and its logits.

    Attributes:
        weight: shape ``[vocabulary, d_model]``; in memory, or read a block at a time.
        precision: the arithmetic of the product.
        bias: shape ``[vocabulary]`` or None.
        scale: logits are multiplied by it (Cohere, Granite).
        soft_cap: logits become ``soft_cap * tanh(logits / soft_cap)`` (Gemma 2); None is none.
    """

    weight: torch.Tensor | StoredRows
    precision: Precision
    bias: torch.Tensor | None = None
    scale: float = 1.0
    soft_cap: float | None = None

    @property
    def vocabulary(self) -> int:
        """Number of logits."""
        return self.weight.shape[0]

    @property
    def held(self) -> torch.Tensor:
        """The weight of a head that is in memory."""
        assert isinstance(self.weight, torch.Tensor), "read a block at a time"
        return self.weight

    def logits(self, hidden: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Logits of the tokens ``start`` to ``stop - 1``.

        Args:
            hidden: post-norm hidden states, shape ``[positions, d_model]``.
            start: first column.
            stop: one past the last column.

        Returns:
            Shape ``[positions, stop - start]``, float32.
        """
        bias = None if self.bias is None else self.bias[start:stop]
        with arithmetic(self.precision):
            block = torch.nn.functional.linear(hidden, self.weight[start:stop], bias).float()
        return self._finished(block)

    def _finished(self, block: torch.Tensor) -> torch.Tensor:
        if self.scale != 1.0:
            block *= self.scale
        if self.soft_cap is not None:
            block = torch.tanh(block / self.soft_cap) * self.soft_cap
        return block

    def is_equivalent(self, other: Head) -> bool:
        """Whether both give the same logits for the same hidden states; heads that are read a block
        at a time are not compared, since equal ones would take no less memory.
        """
        if isinstance(self.weight, StoredRows) or isinstance(other.weight, StoredRows):
            return False
        return (
            (self.scale, self.soft_cap) == (other.scale, other.soft_cap)
            and self.precision == other.precision
            and torch.equal(self.weight, other.weight)
            and (self.bias is None) == (other.bias is None)
            and (self.bias is None or other.bias is None or torch.equal(self.bias, other.bias))
        )


def weights_of(candidate: Candidate) -> Checkpoint:
    """The candidate's tensors.

    Raises:
        CheckpointError: it has none that can be decoded.
    """
    if candidate.model.weights is None:
        raise CheckpointError(
            f"{candidate.model.name}: expected weights to decode, got a model without any",
            hint="evaluate it with the engine it is served by (--engine)",
        )
    return candidate.model.weights


def load_head(
    checkpoint: Checkpoint, *, precision: Precision, device: str, code: Path | None = None
) -> Head:
    """Read a model's head, by the names of its class; one that the config ties is its embedding.

    Args:
        checkpoint: an opened model.
        precision: the arithmetic of the product.
        device: a torch device.
        code: directory of the model's own Python code, if it is trusted.

    Raises:
        CheckpointError: the weights have no head, and the config does not tie it.
        NumericalError: NaN or infinite weights.
        UnsupportedModel: the class does something after the head that is not applied here.
    """
    stored = read_head(checkpoint, precision=precision, code=code)
    weight = stored.weight.to(device=device, dtype=storage_dtype(precision))
    _require_finite(weight, checkpoint, stored.name)
    return _head(weight, stored.bias, stored.finish, precision, device)


def load_stored_head(
    checkpoint: Checkpoint,
    *,
    precision: Precision,
    device: str,
    scratch: Path | None,
    code: Path | None = None,
) -> Head:
    """As `load_head`, with a weight that stays on disk and is read a block at a time.

    A weight that is stored as floats is read where it lies; another one is decoded once, to a
    scratch file.

    Args:
        checkpoint: an opened model.
        precision: the arithmetic of the product.
        device: a torch device.
        scratch: folder for the file; None is the system's place for temporary files.
        code: directory of the model's own Python code, if it is trusted.

    Raises:
        CheckpointError: see `load_head`.
        NumericalError: NaN or infinite weights.
        StorageError: the file cannot be written.
        UnsupportedModel: see `load_head`.
    """
    names = CheckpointNames.of(checkpoint, code)
    dtype = storage_dtype(precision)
    target, group = _source(names)
    rows = None
    if group.converter is None:
        ((own,),) = group.sources.values()
        rows = checkpoint_rows(checkpoint, own, dtype)
    if rows is None:
        weight = rows_in_file(group.read(checkpoint, target, dtype), scratch, dtype, device)
    else:
        weight = StoredRows(rows, checkpoint.shape(own), dtype, device)
    for start in range(0, weight.shape[0], _ROWS):
        _require_finite(weight[start : start + _ROWS], checkpoint, target)
    return _head(weight, _bias(names)[1], finish_of(names.architecture), precision, device)


def _head(
    weight: torch.Tensor | StoredRows,
    bias: torch.Tensor | None,
    finish: Finish,
    precision: Precision,
    device: str,
) -> Head:
    return Head(
        weight=weight,
        precision=precision,
        bias=None if bias is None else bias.to(device=device, dtype=storage_dtype(precision)),
        scale=finish.scale,
        soft_cap=finish.soft_cap,
    )


def _require_finite(weight: torch.Tensor, checkpoint: Checkpoint, name: str) -> None:
    if not torch.isfinite(weight).all():
        raise NumericalError(
            f"{checkpoint.info.name}: NaN or infinite values in `{name}`",
            hint="download or make the file again: it may be damaged",
        )


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A head as its checkpoint stores it.

    Attributes:
        name: of the weight, in the model's own module graph; that of the embedding if it is tied.
        weight: shape ``[vocabulary, d_model]``; floats in the type they are stored in.
        bias_name: of the bias, likewise; empty without one.
        bias: shape ``[vocabulary]`` or None.
        finish: what follows the product.
    """

    name: str
    weight: torch.Tensor
    bias_name: str
    bias: torch.Tensor | None
    finish: Finish


def read_head(
    checkpoint: Checkpoint, *, precision: Precision, code: Path | None = None
) -> StoredHead:
    """Read a head without changing the type of what is stored as floats; quantized weights are
    decoded for `precision`.

    See `load_head` for arguments and errors.
    """
    names = CheckpointNames.of(checkpoint, code)
    finish = finish_of(names.architecture)
    name, group = _source(names)
    weight = group.read(checkpoint, name, storage_dtype(precision))
    bias_name, bias = _bias(names)
    return StoredHead(name, weight, bias_name, bias, finish)


def _source(names: CheckpointNames) -> tuple[str, Group]:
    wanted = f"{names.architecture.head}.weight"
    found = names.source(wanted)  # stored, although the config ties it: a variant may have its own
    if found is None:
        raise CheckpointError(
            f"{names.checkpoint.info.name}: the weights have no head `{wanted}`, and the config "
            "does not tie it to the embedding",
            hint="download the rest of the checkpoint, or the config that belongs to it",
        )
    return found


def _bias(names: CheckpointNames) -> tuple[str, torch.Tensor | None]:
    head, checkpoint = names.architecture.head, names.checkpoint
    assert head is not None, "found by `finish_of`"
    if names.architecture.model.get_submodule(head).bias is None:
        return "", None
    found = names.source(f"{head}.bias")
    if found is None:
        raise CheckpointError(
            f"{checkpoint.info.name}: the weights have no `{head}.bias`",
            hint="download the rest of the checkpoint, or the config that belongs to it",
        )
    return found[0], found[1].read(checkpoint, found[0])
