"""Which tensor of a GGUF file is which parameter of the transformers model, and how it lies.

The modules of each architecture are listed under their transformers names; llama.cpp's names come
from the `gguf` package's map, in both directions. Two kinds of tensor lie differently:

- llama (and Mistral, which is written as llama): llama.cpp rotates neighbouring pairs of a head's
  rows where transformers rotates its halves, so the rows of Q and K are permuted
  (conversion/llama.py, ``permute``);
- GPT-2: transformers' `Conv1D` keeps ``[in, out]``, GGUF ``[out, in]`` (conversion/gpt2.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from bitloss.errors import UnsupportedModel
from bitloss.formats.gguf._library import gguf_library

if TYPE_CHECKING:
    import torch

__all__ = [
    "FAMILIES",
    "Family",
    "Heads",
    "family",
    "from_gguf",
    "full_names",
    "gguf_name",
    "to_gguf",
]


@dataclass(frozen=True, slots=True)
class Family:
    """Architectures that llama.cpp treats alike.

    Attributes:
        arch: llama.cpp's name of the architecture.
        modules: modules with weights outside of the layers, by transformers name.
        layer: prefix of a layer's modules, with ``{i}``.
        layer_modules: modules of a layer.
        permuted: of these, the ones whose rows are permuted.
        transposed: of these, the ones that are `Conv1D`.
    """

    arch: str
    modules: tuple[str, ...]
    layer: str
    layer_modules: tuple[str, ...]
    permuted: tuple[str, ...] = ()
    transposed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Heads:
    """Numbers of attention heads: queries, and keys with values."""

    queries: int
    keys: int


_DECODER = ("model.embed_tokens", "model.norm", "lm_head")
_LLAMA_LAYER = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj",
    "mlp.down_proj",
)  # fmt: skip
_CONV1D = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")

FAMILIES = MappingProxyType(
    {
        "llama": Family(
            "llama",
            _DECODER,
            "model.layers.{i}.",
            _LLAMA_LAYER,
            permuted=("self_attn.q_proj", "self_attn.k_proj"),
        ),
        "qwen2": Family("qwen2", _DECODER, "model.layers.{i}.", _LLAMA_LAYER),
        "qwen3": Family(
            "qwen3",
            _DECODER,
            "model.layers.{i}.",
            (*_LLAMA_LAYER, "self_attn.q_norm", "self_attn.k_norm"),
        ),
        "gpt2": Family(
            "gpt2",
            ("transformer.wte", "transformer.wpe", "transformer.ln_f", "lm_head"),
            "transformer.h.{i}.",
            ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"),
            transposed=_CONV1D,
        ),
    }
)

# Tensors beside the parameters: transformers computes them from the config, which is where
# `bitloss.formats.gguf.config` puts the first one's values. Old converters stored the others.
_HELPERS = re.compile(r"^rope_freqs\.weight$|^blk\.\d+\.(attn_rot_embd|attn\.rotary_emb).*$")


def family(arch: str) -> Family:
    """The family of llama.cpp's architecture.

    Raises:
        UnsupportedModel: none is known, naming the architecture.
    """
    if arch not in FAMILIES:
        raise UnsupportedModel(
            f"GGUF architecture `{arch}` is not supported",
            hint=f"choose one of {', '.join(FAMILIES)} (Mistral is written as llama)",
        )
    return FAMILIES[arch]


def full_names(members: Family, layers: int, names: tuple[str, ...]) -> dict[str, str]:
    """The full name of each parameter of a checkpoint that may lack the base model's prefix.

    Returns:
        ``{full name: name in the checkpoint}``, in the checkpoint's order.

    Raises:
        UnsupportedModel: a parameter is none of the family's.
    """
    known = _names(members, layers)
    prefix = members.layer.partition(".")[0]
    found = {}
    for name in names:
        full = name if name in known else f"{prefix}.{name}"
        if full not in known:
            raise UnsupportedModel(
                f"parameter `{name}` has no place in a GGUF file of architecture `{members.arch}`",
                hint="choose another file: the model has modules that its architecture does not",
            )
        found[full] = name
    return found


def gguf_name(members: Family, layers: int, name: str) -> str:
    """llama.cpp's name of a parameter (``model.norm.weight`` -> ``output_norm.weight``)."""
    return _names(members, layers)[name]


def from_gguf(members: Family, layers: int, tensors: tuple[str, ...]) -> dict[str, str]:
    """The transformers name of each tensor of a file: ``{parameter: tensor}``, in file order.

    Raises:
        UnsupportedModel: a tensor is neither a parameter nor a known helper (experts, for one).
    """
    known = {stored: name for name, stored in _names(members, layers).items()}
    unknown = [name for name in tensors if name not in known and not _HELPERS.match(name)]
    if unknown:
        raise UnsupportedModel(
            f"tensor `{unknown[0]}` is not part of a `{members.arch}` model as bitloss knows it"
            + (f", and {len(unknown) - 1} more" if len(unknown) > 1 else ""),
            hint="choose another file: mixtures of experts and multimodal files are not supported",
        )
    return {known[name]: name for name in tensors if name in known}


def to_gguf(
    members: Family, name: str, tensor: torch.Tensor, heads: Heads, *, inverse: bool = False
) -> torch.Tensor:
    """Lay a parameter out as llama.cpp does, or back with `inverse`.

    Args:
        members: the family.
        name: transformers name of the parameter.
        tensor: its values.
        heads: of the model.
        inverse: from a GGUF file to transformers.
    """
    module = name.rpartition(".")[0]
    if module.endswith(members.transposed) and tensor.ndim == 2 and members.transposed:
        return tensor.T.contiguous()
    if module.endswith(members.permuted) and members.permuted:
        count = heads.queries if module.endswith("q_proj") else heads.keys
        half = tensor.shape[0] // count // 2
        split = (half, 2) if inverse else (2, half)
        permuted = tensor.reshape(count, *split, *tensor.shape[1:]).transpose(1, 2)
        return permuted.reshape(tensor.shape).contiguous()
    return tensor


@lru_cache(maxsize=8)
def _names(members: Family, layers: int) -> Mapping[str, str]:
    gguf = gguf_library()
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == members.arch)
    table = gguf.get_tensor_name_map(arch, layers)
    modules = [*members.modules] + [
        members.layer.format(i=index) + module
        for index in range(layers)
        for module in members.layer_modules
    ]
    return {
        f"{module}.{kind}": f"{table.get_name(module)}.{kind}"
        for module in modules
        for kind in ("weight", "bias")
    }
