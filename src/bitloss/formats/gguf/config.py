"""A transformers config from a GGUF file's metadata, so that a file can be scored on its own.

Keys are those of llama.cpp's converter (gguf/constants.py, ``Keys``). What the metadata does not
say is read off the tensors: the vocabulary's size, a tied head, biases, Llama 3's rope factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf.decoding import read_tensor
from bitloss.formats.gguf.files import GgufFiles
from bitloss.formats.gguf.names import family

__all__ = ["architecture", "read_config"]

_ROPE_FACTORS = "rope_freqs.weight"


def architecture(files: GgufFiles) -> str:
    """llama.cpp's name of the architecture.

    Raises:
        CheckpointError: the file does not say.
        UnsupportedModel: it is none that bitloss reads.
    """
    arch = str(_Metadata(files, "general").get("architecture"))
    return family(arch).arch


def read_config(files: GgufFiles) -> dict[str, Any]:
    """The transformers config.

    Raises:
        CheckpointError: a value that the architecture needs is missing.
        UnsupportedModel: an architecture or rope scaling that bitloss does not know.
    """
    arch = architecture(files)
    metadata = _Metadata(files, arch)
    tokens = _Metadata(files, "tokenizer.ggml")
    common = {
        "vocab_size": _shape(files, "token_embd.weight")[0],
        "tie_word_embeddings": "output.weight" not in files.tensors,
        "bos_token_id": tokens.get("bos_token_id", None),
        "eos_token_id": tokens.get("eos_token_id", None),
        "pad_token_id": tokens.get("padding_token_id", None),
    }
    return common | (_gpt2(metadata) if arch == "gpt2" else _llama_like(files, arch, metadata))


class _Metadata:
    """Metadata below one prefix; a missing key is an error unless there is a default."""

    _REQUIRED: Any = object()

    def __init__(self, files: GgufFiles, prefix: str) -> None:
        self.files = files
        self.prefix = prefix

    def get(self, key: str, default: Any = _REQUIRED) -> Any:
        value = self.files.metadata.get(f"{self.prefix}.{key}", default)
        if isinstance(value, list):
            raise UnsupportedModel(
                f"{self.files.paths[0]}: `{self.prefix}.{key}` differs from layer to layer",
                hint="choose another model: such models are not supported",
            )
        if isinstance(value, float):
            # Stored as float32: 1e-5 comes back as 9.999999747378752e-06.
            return float(str(np.float32(value)))
        if value is self._REQUIRED:
            raise CheckpointError(
                f"{self.files.paths[0]}: the metadata lacks `{self.prefix}.{key}`",
                hint="convert the model again with a current llama.cpp, if it is a language model",
            )
        return value


def _shape(files: GgufFiles, name: str) -> tuple[int, ...]:
    if name not in files.tensors:
        raise CheckpointError(
            f"{files.paths[0]}: no tensor `{name}`",
            hint="download the complete file: this one is cut off, or holds a vocabulary only",
        )
    return files.tensors[name].shape


def _gpt2(metadata: _Metadata) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_positions": metadata.get("context_length"),
        "n_embd": metadata.get("embedding_length"),
        "n_layer": metadata.get("block_count"),
        "n_head": metadata.get("attention.head_count"),
        "n_inner": metadata.get("feed_forward_length"),
        "layer_norm_epsilon": metadata.get("attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",
    }


def _llama_like(files: GgufFiles, arch: str, metadata: _Metadata) -> dict[str, Any]:
    hidden, heads = metadata.get("embedding_length"), metadata.get("attention.head_count")
    window = metadata.get("attention.sliding_window", None) or None
    # llama.cpp has one architecture for both; only the window tells Mistral from Llama.
    kind = "mistral" if arch == "llama" and window else arch
    classes = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
    config = {
        "model_type": kind,
        "architectures": [f"{classes[kind]}ForCausalLM"],
        "max_position_embeddings": metadata.get("context_length"),
        "hidden_size": hidden,
        "intermediate_size": metadata.get("feed_forward_length"),
        "num_hidden_layers": metadata.get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.get("attention.head_count_kv", heads),
        "rms_norm_eps": metadata.get("attention.layer_norm_rms_epsilon"),
        "hidden_act": "silu",
        "rope_parameters": _rope(files, metadata),
    }
    if kind != "qwen2":
        config["head_dim"] = metadata.get("attention.key_length", hidden // heads)
    if kind == "llama":
        config["attention_bias"] = "blk.0.attn_output.bias" in files.tensors
        config["mlp_bias"] = "blk.0.ffn_down.bias" in files.tensors
    elif kind == "mistral":
        config["sliding_window"] = window
    elif kind == "qwen3":
        config["attention_bias"] = "blk.0.attn_output.bias" in files.tensors
    return config


def _rope(files: GgufFiles, metadata: _Metadata) -> dict[str, Any]:
    base = {"rope_theta": float(metadata.get("rope.freq_base", 10000.0))}
    kind = metadata.get("rope.scaling.type", "none")
    if _ROPE_FACTORS in files.tensors:
        # Llama 3 stores its scaling as a divisor for each frequency; LongRoPE takes just that.
        factors = read_tensor(files.tensors[_ROPE_FACTORS]).tolist()
        return base | {
            "rope_type": "longrope",
            "short_factor": factors,
            "long_factor": factors,
            "factor": 1.0,
            "attention_factor": 1.0,
            "original_max_position_embeddings": metadata.get("context_length"),
        }
    if kind == "none":
        return base | {"rope_type": "default"}
    scaled = base | {"rope_type": kind, "factor": float(metadata.get("rope.scaling.factor"))}
    if kind == "linear":
        return scaled
    if kind == "yarn" and not _altered_yarn(metadata):
        return scaled | {
            "original_max_position_embeddings": metadata.get(
                "rope.scaling.original_context_length"
            ),
            "beta_fast": metadata.get("rope.scaling.yarn_beta_fast", 32.0),
            "beta_slow": metadata.get("rope.scaling.yarn_beta_slow", 1.0),
        }
    raise UnsupportedModel(
        f"{files.paths[0]}: rope scaling `{kind}` with these parameters is not supported",
        hint="score it beside its reference, with the reference's config",
    )


def _altered_yarn(metadata: _Metadata) -> bool:
    """Whether yarn's attention factor is something else than follows from the factor."""
    keys = ("attn_factor", "yarn_log_multiplier", "yarn_ext_factor", "yarn_attn_factor")
    return any(metadata.get(f"rope.scaling.{key}", None) not in (None, 1.0) for key in keys)
