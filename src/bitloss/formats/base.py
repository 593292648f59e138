"""What every format gives: a model's files, opened but not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bitloss.errors import UnsupportedModel
from bitloss.spec.activations import ActivationType

if TYPE_CHECKING:
    import torch

    from bitloss.types import ModelInfo

__all__ = [
    "Checkpoint",
    "DeclaredInput",
    "ModelIdentity",
    "Rows",
    "checkpoint_inputs",
    "checkpoint_notes",
    "checkpoint_rows",
    "context_length",
    "identify",
    "implied_keys",
    "text_config",
]

_CONTEXT = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "max_seq_len",
    "seq_length",
)  # fmt: skip


class Checkpoint(Protocol):
    """Dense tensors under the names and in the shapes of an unquantized checkpoint, one at a time.

    Either what publishers store (`save_pretrained` writes experts one by one, for instance) or the
    parameters of transformers' module graph: `bitloss.formats.naming` maps both. Shapes are those
    of transformers (GPT-2's `Conv1D` weights are ``[in, out]``, linear layers ``[out, in]``). A
    tied head has no name of its own. Opening reads headers only; `read` decodes one tensor.

    A checkpoint may have `notes` besides, a tuple of texts: what its header says that a reader of
    its results should know (`checkpoint_notes`); `implied`, keys of a config that is made from
    something else than a config.json (`implied_keys`); `inputs`, what it says of the inputs of
    its linear layers (`checkpoint_inputs`); and `rows`, which reads a few rows of a tensor
    (`checkpoint_rows`).
    """

    @property
    def info(self) -> ModelInfo:
        """Format, bits per weight, digest and sizes."""

    @property
    def config(self) -> dict[str, Any]:
        """The transformers config as plain values, without ``quantization_config``."""

    def names(self) -> tuple[str, ...]:
        """Parameter names that can be read, in file order."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The dense shape."""

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The dense tensor on the CPU, contiguous.

        Quantized weights are codes, zero points and scales as stored, multiplied out in float32,
        whatever the types that a kernel rounds to on its way. Tensors that are stored as floats
        are given as they are; GGUF gives them in float32.

        Args:
            name: one of `names`.
            dtype: what quantized weights are rounded to, once, as they are decoded, so that memory
                never holds all of them in float32 besides; None leaves them in float32.

        Raises:
            CheckpointError: the data is missing, truncated or contradicts the header.
        """


class Rows(Protocol):
    """Reads the rows ``start`` to ``stop - 1`` of a tensor, shape ``[stop - start, ...]``."""

    def __call__(self, start: int, stop: int) -> torch.Tensor:
        """See `Checkpoint.read` for errors."""


@dataclass(frozen=True, slots=True)
class DeclaredInput:
    """What a checkpoint says of the numbers that enter a linear layer: how its runtime stores them.

    Attributes:
        type: of the numbers; None for one that has no name here.
        words: what the file says, for people: ``int8``, ``fp8, static``.
        scale: reads the static scale, shape ``[]`` in float32: codes times it are the numbers. Of
            ``nvfp4``, the blocks' scales are multiplied by it before they are rounded. None where
            scales are computed at run time.
        zero: reads the static zero point, shape ``[]``, in codes.
    """

    type: ActivationType | None
    words: str
    scale: Callable[[], torch.Tensor] | None = None
    zero: Callable[[], torch.Tensor] | None = None


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What is known of a model without its weights: a model behind a server has no more.

    Attributes:
        info: digest and format facts.
        config: the transformers config as plain values.
    """

    info: ModelInfo
    config: Mapping[str, Any]

    @property
    def vocabulary(self) -> int:
        """Rows of the output head, padding included.

        Raises:
            UnsupportedModel: the config does not say.
        """
        size = text_config(self.config).get("vocab_size")
        if not isinstance(size, int):
            raise UnsupportedModel(
                f"{self.info.name}: expected `vocab_size` in the config, got {size!r}",
                hint="choose a language model, or add its vocabulary size to config.json",
            )
        return size

    @property
    def context(self) -> int | None:
        """Most tokens that the model reads at once; None if the config does not say."""
        return context_length(self.config)


def checkpoint_notes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """What a reader of a checkpoint's results should know of its files; most have nothing."""
    notes: tuple[str, ...] = getattr(checkpoint, "notes", ())
    return notes


def checkpoint_inputs(checkpoint: Checkpoint) -> Mapping[str, DeclaredInput]:
    """What a checkpoint says of layers' inputs, by the names of their weights (`Checkpoint.names`).

    Empty where it asks for none but weights of few bits.
    """
    inputs: Mapping[str, DeclaredInput] = getattr(checkpoint, "inputs", {})
    return inputs


def checkpoint_rows(checkpoint: Checkpoint, name: str, dtype: torch.dtype) -> Rows | None:
    """A reader of a tensor's rows, for tensors that memory should not hold: heads, embeddings.

    Args:
        checkpoint: opened files.
        name: one of `Checkpoint.names`.
        dtype: see `Checkpoint.read`.

    Returns:
        What gives the same numbers as `Checkpoint.read`, reading and decoding no others; None
        where the tensor can be decoded as a whole only.
    """
    rows: Callable[[str, torch.dtype], Rows | None] | None = getattr(checkpoint, "rows", None)
    return None if rows is None else rows(name, dtype)


def implied_keys(checkpoint: Checkpoint) -> frozenset[str] | None:
    """Keys of the config that the files cannot state and their architecture implies.

    None for a config.json, where a key that is missing has the default of transformers' class. With
    any others, what the config lacks is not known.
    """
    keys: frozenset[str] | None = getattr(checkpoint, "implied", None)
    return keys


def identify(checkpoint: Checkpoint) -> ModelIdentity:
    """The identity of opened files; the first call hashes them (`Checkpoint.info`).

    Raises:
        CheckpointError: a file cannot be read.
    """
    return ModelIdentity(checkpoint.info, checkpoint.config)


def context_length(config: Mapping[str, Any]) -> int | None:
    """Most tokens a model reads at once, from its transformers config; None if it does not say."""
    values = text_config(config)
    return next((int(values[name]) for name in _CONTEXT if values.get(name)), None)


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the language model's part of a multimodal one on top."""
    return {**config, **(config.get("text_config") or {})}
