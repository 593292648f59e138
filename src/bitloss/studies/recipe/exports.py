r"""A recipe in the words of other tools, each by its documentation.

llama.cpp       ``llama-quantize --tensor-type 'REGEX=TYPE'`` or ``--tensor-type-file FILE``, one
                pair per line (tools/quantize/README.md and quantize.cpp). The regular expression is
                searched for in the tensor's name; the first that is found decides.
GPTQModel       ``QuantizeConfig(dynamic={...})``: ``"+:REGEX": {"bits": 8}`` overrides a module,
                ``"-:REGEX": {}`` leaves it unquantized; expressions match from the beginning of a
                module's name (GPTQModel's README, "Dynamic Quantization").
AutoRound       ``extra_config`` of a file's quantization config, ``layer_config`` of its Python
                class: module name to ``{"bits": ..., "data_type": "int"}``; 16 bits and ``"fp"``
                leave it unquantized.
llm-compressor  ``ignore`` of a modifier: module names, or ``re:`` and a regular expression that
                matches from the beginning.

The losses were measured with llama.cpp's types. GPTQ and AutoRound have no 5 and 6 bits, which
become 8; llm-compressor's list names what deserves 6 bits or more, to be left unquantized beside a
scheme of 4. Those files follow the measured order, not its numbers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitloss.studies.recipe.groups import TensorGroup, layer_pattern

__all__ = [
    "Chosen",
    "Exports",
    "auto_round",
    "export",
    "gptqmodel",
    "llm_compressor",
    "tensor_types",
]

_BITS = {"q8_0": 8, "q6_k": 6, "q5_k": 5, "q4_k": 4, "q3_k": 3, "q2_k": 2}
_UNQUANTIZED = 16
_OUTSIDE = ("embeddings", "head")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A group with its type.

    Attributes:
        group: the tensors.
        type: ggml's, as it was asked for.
    """

    group: TensorGroup
    type: str

    @property
    def modules(self) -> tuple[str, ...]:
        """transformers' names of the modules."""
        names = {piece.name for piece in self.group.part.pieces if piece.name.endswith(".weight")}
        return tuple(sorted((name.removesuffix(".weight") for name in names), key=_natural))


@dataclass(frozen=True, slots=True)
class Exports:
    """Files by name, with their text."""

    files: Mapping[str, str]


def export(chosen: Sequence[Chosen], file_type: str) -> Exports:
    """All formats.

    Args:
        chosen: every group with its type.
        file_type: what llama.cpp is asked for besides.
    """
    pairs = tensor_types(chosen)
    lines = [f"{pattern}={kind}" for pattern, kind in pairs]
    command = " \\\n  ".join(
        ["llama-quantize", *(f"--tensor-type '{line}'" for line in lines),
         f"MODEL-F32.gguf MODEL.gguf {file_type}"]
    )  # fmt: skip
    return Exports(
        {
            "tensor-types.txt": "\n".join(lines) + "\n",
            "llama-quantize.sh": f"{command}\n",
            "gptqmodel.json": _json(gptqmodel(chosen)),
            "auto-round.json": _json(auto_round(chosen)),
            "llm-compressor.json": _json(llm_compressor(chosen)),
        }
    )


def tensor_types(chosen: Sequence[Chosen]) -> tuple[tuple[str, str], ...]:
    """Patterns and ggml types for llama.cpp, by `bitloss.quantizers.tensor_types`."""
    return tuple(
        (pattern, one.type) for one in chosen for pattern in layer_pattern(one.group)
    )  # fmt: skip


def gptqmodel(chosen: Sequence[Chosen]) -> dict[str, Any]:
    """``bits`` and ``dynamic`` of GPTQModel's ``QuantizeConfig``."""
    usual = _most_weights(chosen)
    dynamic: dict[str, dict[str, Any]] = {}
    for one in _linear(chosen):
        if _gptq_bits(one.type) != usual:
            for pattern in _module_patterns(one.modules):
                dynamic[f"+:{pattern}"] = {"bits": _gptq_bits(one.type)}
    return {"bits": usual, "dynamic": dynamic}


def auto_round(chosen: Sequence[Chosen]) -> dict[str, Any]:
    """``bits`` and ``extra_config`` of AutoRound's quantization config."""
    usual = _most_weights(chosen)
    return {
        "bits": usual,
        "extra_config": {
            module: {"bits": _gptq_bits(one.type), "data_type": "int"}
            for one in _linear(chosen)
            if _gptq_bits(one.type) != usual
            for module in one.modules
        },
    }


def llm_compressor(chosen: Sequence[Chosen]) -> dict[str, Any]:
    """``ignore`` of llm-compressor's modifiers, for a scheme of 4 bits."""
    ignore = ["lm_head"]
    for one in _linear(chosen):
        if _BITS[one.type] >= 6:
            ignore += [f"re:{pattern}" for pattern in _module_patterns(one.modules)]
    return {"targets": "Linear", "scheme": "W4A16", "ignore": ignore}


def _linear(chosen: Sequence[Chosen]) -> list[Chosen]:
    """What these tools quantize: linear layers within the layers of the model."""
    return [one for one in chosen if one.group.kind not in _OUTSIDE and one.modules]


def _gptq_bits(kind: str) -> int:
    bits = _BITS[kind]
    return 8 if bits in (5, 6) else bits


def _most_weights(chosen: Sequence[Chosen]) -> int:
    sizes: Counter[int] = Counter()
    for one in _linear(chosen):
        sizes[_gptq_bits(one.type)] += one.group.part.weights
    return sizes.most_common(1)[0][0] if sizes else 4


def _module_patterns(modules: Sequence[str]) -> list[str]:
    """Regular expressions for modules, layers of one name together."""
    by_name: dict[tuple[str, str], list[int]] = {}
    patterns = []
    for module in modules:
        found = re.fullmatch(r"(.*?\.)(\d+)(\..+)", module)
        if found is None:
            patterns.append(f"^{re.escape(module)}$")
        else:
            by_name.setdefault((found[1], found[3]), []).append(int(found[2]))
    for (before, behind), numbers in by_name.items():
        inside = "|".join(str(number) for number in sorted(numbers))
        patterns.append(f"^{re.escape(before)}({inside}){re.escape(behind)}$")
    return patterns


def _natural(name: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _json(values: Any) -> str:
    return json.dumps(values, indent=1) + "\n"
