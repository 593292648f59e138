"""A transformers model directory as an unquantized GGUF file.

Any model is written that `bitloss.quantizers.gguf_metadata` has the metadata of and whose tensors
the table of GGUF families (`bitloss.formats.gguf.families`) can lay out: the table is read
backwards. Tensors keep the source's type, but for those that llama.cpp's converter always writes
as F32, and are written one parameter at a time. What GGUF cannot say of a model is refused: see
`bitloss.quantizers.gguf_check`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bitloss.errors import CheckpointError, MissingDependency, UnsupportedModel
from bitloss.formats import Checkpoint, open_checkpoint
from bitloss.formats.gguf.families.names import find_source
from bitloss.formats.gguf.families.operations import Source
from bitloss.formats.gguf.families.table import FAMILIES, Family
from bitloss.formats.naming import Group, plan_names
from bitloss.quantizers.gguf_metadata import WRITTEN, metadata
from bitloss.quantizers.gguf_tokenizer import read_tokenizer, write_tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["GgufSource", "open_source", "write_gguf"]

_TYPES = MappingProxyType(
    {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}
)
# Always F32 (conversion/base.py, `prepare_tensors`): kernels that take nothing else, and routers.
_ALWAYS_F32 = re.compile(
    r"_norm\.weight$|^blk\.\d+\.(ffn_gate_inp|ffn_gate_inp_shexp)\.weight$|(?<!\.weight)$"
)
_OLD_BUFFER = re.compile(r"rotary_emb\.inv_freq$|\.masked_bias$")
_ELSEWHERE = (
    "convert the model with llama.cpp's convert_hf_to_gguf.py and give the .gguf file as the "
    "reference"
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
                hint=_ELSEWHERE,
            )
        return found[0]

    def _encode(self, name: str, tensor: torch.Tensor) -> list[torch.Tensor]:
        return self._source(name).operation.encode(tensor, self._layout)


def open_source(model: Path) -> GgufSource:
    """Open a model directory and make sure that a GGUF file can hold the model.

    While it builds the module graph, transformers sets globals of torch for all threads.

    Raises:
        CheckpointError: the directory is no readable model.
        UnsupportedModel: it is of an architecture, or has a feature, that GGUF has no place for.
    """
    from bitloss.quantizers.gguf_check import require_same_model

    checkpoint = open_checkpoint(model)
    kind = str(checkpoint.config.get("model_type"))
    if kind not in WRITTEN:
        raise UnsupportedModel(
            f"{model}: no GGUF can be written for model type `{kind}`",
            hint=f"written are {', '.join(sorted(WRITTEN))}; {_ELSEWHERE}",
        )
    shell = _module_graph(model, checkpoint.config)
    plan = plan_names(shell, checkpoint.names())
    _refuse_unread(model, shell, plan.unread)
    shapes = {name: tuple(value.shape) for name, value in shell.state_dict().items()}
    source = GgufSource(model, checkpoint, plan.by_target, shapes, shell.config, FAMILIES[kind])
    require_same_model(source)
    return source


def _module_graph(model: Path, config: Mapping[str, Any]) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                AutoConfig.for_model(**config), dtype=torch.float32
            )
    # transformers raises whatever its checks of a config raise.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{model}: transformers cannot build the model of this config: {reason}"[:300],
            hint="download config.json again, or install a newer transformers",
        ) from error


def _refuse_unread(model: Path, shell: Any, unread: Mapping[str, str]) -> None:
    ignored = [re.compile(text) for text in shell._keys_to_ignore_on_load_unexpected or ()]
    ignored.append(_OLD_BUFFER)
    extra = [n for n, target in unread.items() if not any(p.search(target) for p in ignored)]
    if extra:
        raise UnsupportedModel(
            f"{model}: parameter `{extra[0]}` has no place in a GGUF file"
            + (f", and {len(extra) - 1} more" if len(extra) > 1 else ""),
            hint=_ELSEWHERE,
        )


def write_gguf(
    source: GgufSource,
    out: Path,
    *,
    metadata: Mapping[str, str | int] = MappingProxyType({}),
    advance: Callable[[int], None] = lambda n: None,
) -> None:
    """Write the model.

    Args:
        source: what `open_source` returned.
        out: the file to be written.
        metadata: further key-value pairs.
        advance: called with the number of tensors just written.

    Raises:
        QuantizationError: the tokenizer cannot be expressed.
        MissingDependency: the package `gguf` is not installed.
    """
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise MissingDependency("gguf", "writing GGUF files", extra="gguf") from error

    tokenizer = read_tokenizer(source.path, source.config.vocab_size)
    writer = gguf.GGUFWriter(out, source.family.arch)
    try:
        writer.add_name(source.path.name)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for key, value in source.metadata.items():
            _add_value(writer, f"{source.family.arch}.{key}", value)
        write_tokenizer(writer, source.path, tokenizer)
        for key, value in metadata.items():
            _add_value(writer, key, value)
        factors = source.factors()
        for name, shape, dtype in _listing(source, factors):
            _add_info(writer, name, shape, dtype)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in factors.values():
            writer.write_tensor_data(_as_numpy(tensor))
        for name in source.parameters:
            for tensor in source.read_all(name):
                writer.write_tensor_data(_as_numpy(tensor))
                advance(1)
    finally:
        writer.close()


def _add_value(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


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


def _listing(
    source: GgufSource, factors: Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Name, shape and type of each tensor to come."""
    for name, tensor in factors.items():
        yield name, tuple(tensor.shape), "F32"
    for name in source.parameters:
        shapes = source.stored_shapes(name)
        for stored, shape in zip(source.stored_names(name), shapes, strict=True):
            yield stored, shape, source.stored_type(name, stored)


def _add_info(writer: Any, name: str, shape: tuple[int, ...], dtype: str) -> None:
    import gguf
    import numpy as np

    ggml_type = gguf.GGMLQuantizationType[dtype]
    size = gguf.GGML_QUANT_SIZES[ggml_type][1]
    count = int(np.prod(shape))
    writer.add_tensor_info(name, shape, np.dtype(np.float32), count * size, raw_dtype=ggml_type)


def _as_numpy(tensor: torch.Tensor) -> Any:
    """The values as numpy sees them; numpy has no bf16, so its bytes are passed."""
    import torch

    tensor = tensor.contiguous()
    return (tensor.view(torch.uint8) if tensor.dtype == torch.bfloat16 else tensor).numpy()
