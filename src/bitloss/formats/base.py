"""What every format gives: a model's files, opened but not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from bitloss.types import ModelInfo

__all__ = ["Checkpoint", "context_length"]

_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length")


class Checkpoint(Protocol):
    """Dense tensors under the parameter names of the transformers architecture, one at a time.

    Names are those of ``AutoModelForCausalLM.from_config(config).state_dict()`` and shapes too
    (GPT-2's `Conv1D` weights are ``[in, out]``, linear layers ``[out, in]``). A tied head has no
    name of its own. Opening reads headers only; `read` decodes one tensor.
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

    def read(self, name: str) -> torch.Tensor:
        """The dense tensor on the CPU, contiguous, in the format's own precision.

        Dense files keep their dtype; GPTQ and AWQ give the dtype of their scales, with the
        rounding of the library's own torch kernel; GGUF gives float32.

        Raises:
            CheckpointError: the data is missing, truncated or contradicts the header.
        """


def context_length(config: Mapping[str, Any]) -> int | None:
    """Most tokens a model reads at once, from its transformers config; None where it says none."""
    values = {**config, **(config.get("text_config") or {})}
    return next((int(values[name]) for name in _CONTEXT if values.get(name)), None)
