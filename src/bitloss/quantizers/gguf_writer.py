"""A transformers model directory as an unquantized GGUF file.

Tensors keep the source's type (one-dimensional ones become F32, as llama.cpp's kernels expect)
and are written one at a time. What GGUF cannot say of a model is refused, with one exception
that llama.cpp's own converter makes too: llama.cpp knows no sliding window for these
architectures. Mistral's is recorded, but a context beyond it is attended to in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bitloss.errors import MissingDependency, UnsupportedModel
from bitloss.formats import Checkpoint, open_checkpoint
from bitloss.formats.gguf.families.names import find_source, full_names
from bitloss.formats.gguf.families.operations import Source
from bitloss.formats.gguf.families.table import FAMILIES, Family
from bitloss.quantizers.gguf_tokenizer import read_tokenizer, write_tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["GgufSource", "open_source", "write_gguf"]

_MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3", "gpt2")
_TYPES = MappingProxyType(
    {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}
)
_ROPE_TYPES = ("default", "linear", "yarn", "llama3")


@dataclass(frozen=True, slots=True)
class GgufSource:
    """A model that can be written as GGUF.

    Attributes:
        path: its directory.
        checkpoint: its weights.
        parameters: transformers name -> name in the checkpoint, which may lack the prefix.
        config: the transformers config object.
        family: names and layout.
        layers: how many.
    """

    path: Path
    checkpoint: Checkpoint
    parameters: Mapping[str, str]
    config: Any
    family: Family
    layers: int

    def stored_name(self, name: str) -> str:
        """llama.cpp's name of a parameter."""
        return self._source(name).stored[0]

    def stored_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter as GGUF keeps it; the last number is the row's size."""
        import torch

        shape = self.checkpoint.shape(self.parameters[name])
        return tuple(self._encode(name, torch.empty(shape, device="meta")).shape)

    def read(self, name: str) -> torch.Tensor:
        """A parameter as GGUF keeps it, in the type it is written in."""
        tensor = self._encode(name, self.checkpoint.read(self.parameters[name]))
        return tensor.float() if tensor.ndim == 1 else tensor

    def heads(self) -> dict[str, int]:
        """How many, under the config's names."""
        queries = self.config.num_attention_heads
        keys = getattr(self.config, "num_key_value_heads", None) or queries
        return {"num_attention_heads": queries, "num_key_value_heads": keys}

    def _source(self, name: str) -> Source:
        found = find_source(self.family, name)
        assert found is not None  # `full_names` has found it
        return found[0]

    def _encode(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        return self._source(name).operation.encode(tensor, self.heads())[0]


def open_source(model: Path) -> GgufSource:
    """Open a model directory and make sure that a GGUF file can hold the model.

    Raises:
        CheckpointError: the directory is no readable model.
        UnsupportedModel: it is of an architecture, or has a feature, that GGUF has no place for.
    """
    from transformers import AutoConfig

    checkpoint = open_checkpoint(model)
    kind = str(checkpoint.config.get("model_type"))
    if kind not in _MODEL_TYPES:
        raise UnsupportedModel(
            f"{model}: no GGUF can be written for model type `{kind}`",
            hint=f"supported: {', '.join(_MODEL_TYPES)}; or convert it with llama.cpp's "
            "convert_hf_to_gguf.py and give the .gguf file",
        )
    config = AutoConfig.for_model(**checkpoint.config)
    _refuse_features(model, kind, config)
    members, layers = FAMILIES[kind], config.num_hidden_layers
    parameters = full_names(members, checkpoint.names())
    return GgufSource(model, checkpoint, parameters, config, members, layers)


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
        advance: called with 1 after each tensor.

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
        _add_config(writer, source)
        write_tokenizer(writer, source.path, tokenizer)
        for key, value in metadata.items():
            (writer.add_string if isinstance(value, str) else writer.add_uint32)(key, value)
        for name, shape, dtype in _listing(source):
            _add_info(writer, name, shape, dtype)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in _tensors(source):
            writer.write_tensor_data(_as_numpy(tensor))
            advance(1)
    finally:
        writer.close()


def _refuse_features(model: Path, kind: str, config: Any) -> None:
    activation = config.activation_function if kind == "gpt2" else config.hidden_act
    expected = "gelu_new" if kind == "gpt2" else "silu"
    rope = getattr(config, "rope_parameters", None) or {}
    problem = ""
    if activation != expected:
        problem = f"activation `{activation}` (expected `{expected}`)"
    elif kind == "gpt2" and (
        config.scale_attn_by_inverse_layer_idx or not config.scale_attn_weights
    ):
        problem = "another scaling of the attention than GPT-2's"
    elif rope.get("rope_type", "default") not in _ROPE_TYPES:
        problem = f"rope type `{rope['rope_type']}`"
    elif rope.get("rope_type") == "yarn" and any(
        rope.get(key) is not None for key in ("attention_factor", "mscale", "mscale_all_dim")
    ):
        problem = "yarn with an attention factor of its own"
    if problem:
        raise UnsupportedModel(
            f"{model}: {problem} cannot be written as GGUF",
            hint="llama.cpp's convert_hf_to_gguf.py may know how; give its .gguf file",
        )


def _add_config(writer: Any, source: GgufSource) -> None:
    import gguf

    config = source.config
    writer.add_name(source.path.name)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(source.layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(source.heads()["num_attention_heads"])
    writer.add_vocab_size(config.vocab_size)
    if source.family.arch == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.n_embd)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    head_dim = (
        getattr(config, "head_dim", None)
        or config.hidden_size // source.heads()["num_attention_heads"]
    )
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(source.heads()["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if config.model_type == "mistral" and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    _add_rope(writer, config.rope_parameters)


def _add_rope(writer: Any, rope: Mapping[str, Any]) -> None:
    import gguf

    writer.add_rope_freq_base(rope["rope_theta"])
    kind = rope.get("rope_type", "default")
    if kind not in ("linear", "yarn"):
        return
    writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
    writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope.get("beta_fast") or 32.0)
        writer.add_rope_scaling_yarn_beta_slow(rope.get("beta_slow") or 1.0)


def _rope_factors(source: GgufSource) -> torch.Tensor | None:
    """Llama 3's divisors of the rope frequencies, which GGUF keeps as a tensor."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = getattr(source.config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "llama3":
        return None
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](source.config, torch.device("cpu"))
    dim = 2 * len(scaled)
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    factors: torch.Tensor = plain / scaled
    return factors


def _listing(source: GgufSource) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Name, shape and type of each tensor to come."""
    factors = _rope_factors(source)
    if factors is not None:
        yield "rope_freqs.weight", tuple(factors.shape), "F32"
    for name in source.parameters:
        shape = source.stored_shape(name)
        stored = source.checkpoint.read(source.parameters[name])
        dtype = "F32" if len(shape) == 1 else _TYPES[str(stored.dtype)]
        yield source.stored_name(name), shape, dtype


def _tensors(source: GgufSource) -> Iterator[torch.Tensor]:
    """The tensors in the order of `_listing`."""
    factors = _rope_factors(source)
    if factors is not None:
        yield factors
    for name in source.parameters:
        yield source.read(name)


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
