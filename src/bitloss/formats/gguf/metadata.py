"""A file's metadata, read with types and bounds, and with a note of what has been read.

What nobody read may change the computation, so `Metadata.refuse_unread` names it. A wrong number
is the worst fault there is; a model that is refused can be scored elsewhere.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf.files import GgufFiles

__all__ = ["DAMAGED", "Metadata"]

_REQUIRED: Any = object()
_CONVERT = "convert the model again with a current llama.cpp, if it is a language model"
DAMAGED = "download the file again, or convert the model again with a current llama.cpp"
"""The hint for a value that cannot be."""

_BLOCK = re.compile(r"^blk\.(\d+)\.")
# Keys that repeat what is known, and values that say that something usual is so.
_REMARKS = ("context_length", "vocab_size", "rope.scaling.finetuned")
_USUAL = {
    "attention.causal": (True,),
    "pooling_type": (0,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "tensor_data_layout": ("jploski", "Meta AI original pth"),
}
# No more layers than llama.cpp takes (LLAMA_MAX_LAYERS), and sizes of any model for decades.
_MOST = 1 << 30


class Metadata:
    """Values below one prefix, by default the architecture's name.

    Args:
        files: the opened headers.
        prefix: without the dot; the architecture's name where None.

    Raises:
        CheckpointError: the file does not say its architecture.
    """

    def __init__(self, files: GgufFiles, prefix: str | None = None) -> None:
        self.files = files
        self.read: set[str] = set()
        if prefix is None:
            prefix = str(Metadata(files, "general").text("architecture"))
        self.prefix = prefix

    def has(self, key: str) -> bool:
        """Whether the file has the key."""
        return f"{self.prefix}.{key}" in self.files.metadata

    def has_tensor(self, name: str) -> bool:
        """Whether the file has the tensor."""
        return name in self.files.tensors

    def whole(self, key: str, default: Any = _REQUIRED, least: int = 0, most: int = _MOST) -> Any:
        """A whole number of at least `least`; a list of equal ones counts as one."""
        value = self._one(key, default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, f"a whole number from {least} to {most}", value)
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> Any:
        """A finite number."""
        value = self._one(key, default)
        if value is default:
            return value
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise self.wrong(key, "a finite number", value)
        # Stored as float32: 1e-5 comes back as 9.999999747378752e-06.
        return float(str(np.float32(value))) if isinstance(value, float) else float(value)

    def positive(self, key: str, default: Any = _REQUIRED) -> Any:
        """A finite number above zero."""
        value = self.number(key, default)
        if value is not default and value <= 0:
            raise self.wrong(key, "a number above 0", value)
        return value

    def flag(self, key: str, default: Any = _REQUIRED) -> Any:
        """True or False."""
        value = self._one(key, default)
        if value is not default and not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return value

    def text(self, key: str, default: Any = _REQUIRED) -> Any:
        """A string."""
        value = self._one(key, default)
        if value is not default and not isinstance(value, str):
            raise self.wrong(key, "text", value)
        return value

    def per_layer(self, key: str, layers: int, default: Any = _REQUIRED) -> list[Any]:
        """One value per layer; a single value stands for all."""
        value = self._get(key, default)
        if not isinstance(value, list):
            return [value] * layers
        if len(value) < layers:
            raise self.wrong(key, f"{layers} values, one per layer", f"{len(value)} values")
        return value[:layers]

    def layers(self) -> int:
        """Decoder layers, without those that predict further tokens (``nextn``).

        Raises:
            CheckpointError: the tensors are of another number of layers.
        """
        count = self.whole("block_count")
        found = 1 + max(
            (int(match[1]) for name in self.files.tensors if (match := _BLOCK.match(name))),
            default=-1,
        )
        if count != found:
            raise self.wrong("block_count", f"{found}, as there are tensors of", count)
        extra: int = self.whole("nextn_predict_layers", 0)
        layers: int = max(count - extra, 0)
        return layers

    def refuse_unread(self) -> None:
        """Raise for a key that was not read.

        Raises:
            UnsupportedModel: it may change what the model computes.
        """
        for full in self.files.metadata:
            key = full.removeprefix(f"{self.prefix}.")
            if key == full or key in self.read or key in _REMARKS:
                continue
            if self.files.metadata[full] in _USUAL.get(key, ()):
                continue
            raise UnsupportedModel(
                f"{self.files.paths[0]}: metadata `{full}` is not understood, and may change what "
                "the model computes",
                hint="score another file of the model, or add the key to "
                "bitloss.formats.gguf.families.table",
            )

    def wrong(self, key: str, expected: str, got: object) -> CheckpointError:
        """The error for a value that cannot be."""
        return CheckpointError(
            f"{self.files.paths[0]}: `{self.prefix}.{key}`: expected {expected}, got {got!r}"[:400],
            hint=DAMAGED,
        )

    def unsupported(self, key: str, got: object) -> UnsupportedModel:
        """The error for a value that is known not to be computed here."""
        return UnsupportedModel(
            f"{self.files.paths[0]}: `{self.prefix}.{key}` is {got!r}, which is not supported"[
                :400
            ],
            hint="score another file of the model, or choose another model",
        )

    def _get(self, key: str, default: Any) -> Any:
        self.read.add(key)
        value = self.files.metadata.get(f"{self.prefix}.{key}", default)
        if value is _REQUIRED:
            raise CheckpointError(
                f"{self.files.paths[0]}: the metadata lacks `{self.prefix}.{key}`", hint=_CONVERT
            )
        return value

    def _one(self, key: str, default: Any) -> Any:
        value = self._get(key, default)
        if not isinstance(value, list) or value is default:
            return value
        if not value or any(item != value[0] for item in value):
            raise UnsupportedModel(
                f"{self.files.paths[0]}: `{self.prefix}.{key}` differs from layer to layer",
                hint="choose another model: such models are not supported",
            )
        return value[0]
