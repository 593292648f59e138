"""A model directory in GGUF's terms: names, shapes and values of the tensors that a file gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.base import Checkpoint
from bitloss.formats.gguf.families.names import find_source
from bitloss.formats.gguf.families.operations import Source
from bitloss.formats.gguf.families.table import Family
from bitloss.formats.naming import Group
from bitloss.quantizers.gguf_metadata import CONVERT_INSTEAD, metadata

if TYPE_CHECKING:
    import torch

__all__ = ["GgufSource"]

_TYPES = MappingProxyType(
    {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}
)
# Always F32 (conversion/base.py, `prepare_tensors`): kernels that take nothing else, and routers.
_ALWAYS_F32 = re.compile(
    r"_norm\.weight$|^blk\.\d+\.(ffn_gate_inp|ffn_gate_inp_shexp)\.weight$|(?<!\.weight)$"
)


@dataclass(frozen=True)
class GgufSource:
    """A model that can be written as GGUF.

    Attributes:
        path: its directory.
        checkpoint: its weights.
        parameters: transformers name -> where it comes from, in file order.
        shapes: transformers name -> dense shape.
        config: the transformers config object.
        family: names and layout.
    """

    path: Path
    checkpoint: Checkpoint
    parameters: Mapping[str, Group]
    shapes: Mapping[str, tuple[int, ...]]
    config: Any
    family: Family

    def stored_names(self, name: str) -> tuple[str, ...]:
        """llama.cpp's names of a parameter's tensors."""
        return self._source(name).stored

    def stored_name(self, name: str) -> str:
        """llama.cpp's name of a parameter that is one tensor, or of its first one."""
        return self.stored_names(name)[0]

    def stored_parameters(self) -> dict[str, tuple[str, ...]]:
        """llama.cpp's names of the tensors of each parameter."""
        return {name: self.stored_names(name) for name in self.parameters}

    def load(self) -> Any:
        """transformers' model, in the type it is stored in (fp16 in fp32)."""
        import torch
        from transformers import AutoModelForCausalLM

        model: Any = AutoModelForCausalLM.from_pretrained(
            str(self.path), dtype="auto", local_files_only=True
        )
        # fp16 is the slowest type of a CPU and the narrowest; nothing is lost in fp32.
        return (model.float() if model.dtype == torch.float16 else model).eval()

    @property
    def tensors(self) -> int:
        """How many tensors the parameters are stored as."""
        return sum(len(self.stored_names(name)) for name in self.parameters)

    def stored_shapes(self, name: str) -> list[tuple[int, ...]]:
        """The shapes of its tensors as GGUF keeps them; the last number is the row's size."""
        import torch

        empty = torch.empty(self.shapes[name], device="meta")
        return [tuple(tensor.shape) for tensor in self._encode(name, empty)]

    def stored_type(self, name: str, stored: str) -> str:
        """The ggml type that one of a parameter's tensors is written in."""
        if len(self.shapes[name]) <= 1 or _ALWAYS_F32.search(stored):
            return "F32"
        sources = next(iter(self.parameters[name].sources.values()))
        return _TYPES[str(self.checkpoint.read(sources[0]).dtype)]

    def read(self, name: str) -> torch.Tensor:
        """The only, or first, tensor of a parameter as GGUF keeps it."""
        return self.read_all(name)[0]

    def read_all(self, name: str) -> list[torch.Tensor]:
        """The tensors of a parameter as GGUF keeps them, in the types they are written in.

        Raises:
            CheckpointError: the parameter is of another shape than the config implies.
        """
        tensor = self.parameters[name].read(self.checkpoint, name)
        if tuple(tensor.shape) != self.shapes[name]:
            raise CheckpointError(
                f"{self.path}: `{name}`: expected shape {list(self.shapes[name])} by the config, "
                f"got {list(tensor.shape)}",
                hint="download the checkpoint again, or the config that belongs to it",
            )
        # Vectors become F32 before they are changed: 1 + w in bfloat16 would lose most of w.
        encoded = self._encode(name, tensor.float() if tensor.ndim <= 1 else tensor)
        return [
            part.float() if part.ndim <= 1 or _ALWAYS_F32.search(stored) else part
            for part, stored in zip(encoded, self.stored_names(name), strict=True)
        ]

    def heads(self) -> dict[str, int]:
        """How many, under the config's names."""
        queries = self.config.num_attention_heads
        keys = getattr(self.config, "num_key_value_heads", None) or queries
        return {"num_attention_heads": queries, "num_key_value_heads": keys}

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The architecture's part of the metadata, without its name."""
        return metadata(self.config)

    def factors(self) -> dict[str, torch.Tensor]:
        """Divisors of the rope frequencies, which GGUF keeps as tensors."""
        return _rope_factors(self.config)

    @cached_property
    def _layout(self) -> dict[str, Any]:
        return {**self.config.to_dict(), **self.heads()}

    def _source(self, name: str) -> Source:
        found = find_source(self.family, name)
        if found is None:
            raise UnsupportedModel(
                f"{self.path}: parameter `{name}` has no place in a GGUF file of architecture "
                f"`{self.family.arch}`",
                hint=CONVERT_INSTEAD,
            )
        return found[0]

    def _encode(self, name: str, tensor: torch.Tensor) -> list[torch.Tensor]:
        return self._source(name).operation.encode(tensor, self._layout)


def _rope_factors(config: Any) -> dict[str, torch.Tensor]:
    """Llama 3's divisors, which it computes, and LongRoPE's, which the config lists."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type")
    if kind == "longrope" and config.model_type in ("phi3", "phimoe"):
        return {
            f"rope_factors_{length}.weight": torch.tensor(rope[f"{length}_factor"])
            for length in ("long", "short")
        }
    if kind != "llama3":
        return {}
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    dim = 2 * len(scaled)
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    return {"rope_freqs.weight": plain / scaled}
