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
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bitloss.errors import MissingDependency, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.configs.empty_model import empty_model
from bitloss.formats.gguf.families.table import FAMILIES
from bitloss.formats.naming import plan_names
from bitloss.quantizers.gguf_check import require_same_model
from bitloss.quantizers.gguf_metadata import CONVERT_INSTEAD, WRITTEN
from bitloss.quantizers.gguf_source import GgufSource
from bitloss.quantizers.gguf_tokenizer import read_tokenizer, write_tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["open_source", "write_gguf"]

_OLD_BUFFER = re.compile(r"rotary_emb\.inv_freq$|\.masked_bias$")


def open_source(model: Path) -> GgufSource:
    """Open a model directory and make sure that a GGUF file can hold the model.

    While it builds the module graph, transformers sets globals of torch for all threads.

    Raises:
        CheckpointError: the directory is no readable model.
        UnsupportedModel: it is of an architecture, or has a feature, that GGUF has no place for.
    """
    checkpoint = open_checkpoint(model)
    kind = str(checkpoint.config.get("model_type"))
    if kind not in WRITTEN:
        raise UnsupportedModel(
            f"{model}: no GGUF can be written for model type `{kind}`",
            hint=f"{CONVERT_INSTEAD}; model types written here: {', '.join(sorted(WRITTEN))}",
        )
    shell = empty_model(checkpoint.config)
    plan = plan_names(shell, checkpoint.names())
    _refuse_unread(model, shell, plan.unread)
    shapes = {name: tuple(value.shape) for name, value in shell.state_dict().items()}
    source = GgufSource(model, checkpoint, plan.by_target, shapes, shell.config, FAMILIES[kind])
    require_same_model(source)
    return source


def _refuse_unread(model: Path, shell: Any, unread: Mapping[str, str]) -> None:
    ignored = [re.compile(text) for text in shell._keys_to_ignore_on_load_unexpected or ()]
    ignored.append(_OLD_BUFFER)
    extra = [n for n, target in unread.items() if not any(p.search(target) for p in ignored)]
    if extra:
        raise UnsupportedModel(
            f"{model}: parameter `{extra[0]}` has no place in a GGUF file"
            + (f", and {len(extra) - 1} more" if len(extra) > 1 else ""),
            hint=CONVERT_INSTEAD,
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
