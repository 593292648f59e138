"""Every plug by name, as an import path: nothing is imported before it is asked for.

A new format, protocol, corpus, quantizer or engine is one file and one line here.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import Any

from bitloss.errors import UnknownName

__all__ = ["CORPORA", "ENGINES", "FORMATS", "PROTOCOLS", "QUANTIZERS", "load"]

# Modules with `matches(path) -> bool` and `open_checkpoint(path, name) -> Checkpoint`,
# asked in this order.
FORMATS = MappingProxyType(
    {
        "gguf": "bitloss.formats.gguf",
        "gptq": "bitloss.formats.gptq",
        "awq": "bitloss.formats.awq",
        "compressed-tensors": "bitloss.formats.compressed_tensors",
        "safetensors": "bitloss.formats.dense",
    }
)

# Frozen dataclasses that satisfy `bitloss.protocols.base.PerplexityProtocol`.
PROTOCOLS = MappingProxyType(
    {
        "strided": "bitloss.protocols.strided:Strided",
        "strided-as-published": "bitloss.protocols.strided:StridedAsPublished",
        "window-mean": "bitloss.protocols.window_mean:WindowMean",
        "gptq": "bitloss.protocols.gptq:Gptq",
        "llama.cpp": "bitloss.protocols.llama_cpp:LlamaCpp",
        "lm-eval-wikitext": "bitloss.protocols.lm_eval_wikitext:LmEvalWikitext",
        "exllamav3": "bitloss.protocols.exllamav3:Exllamav3",
    }
)

# Functions `(data: Path | None) -> Corpus`.
CORPORA = MappingProxyType(
    {
        "wikitext-2": "bitloss.datasets.wikitext:wikitext_2",
        "wikitext-2-valid": "bitloss.datasets.wikitext:wikitext_2_valid",
        "wikitext-103": "bitloss.datasets.wikitext:wikitext_103",
        "web": "bitloss.datasets.calibration:web",
        "code": "bitloss.datasets.calibration:code",
        "wiki": "bitloss.datasets.calibration:wiki",
        "technical": "bitloss.datasets.calibration:technical",
    }
)

# Functions with the signature of `bitloss.quantizers.base.Quantizer`.
QUANTIZERS = MappingProxyType(
    {
        "gptq": "bitloss.quantizers.gptqmodel:quantize",
        "awq": "bitloss.quantizers.gptqmodel:quantize",
        "gguf": "bitloss.quantizers.llama_cpp:quantize",
    }
)

ENGINES = MappingProxyType({"dense": "bitloss.engines.dense"})


def load(kind: str, table: MappingProxyType[str, str], name: str) -> Any:
    """Import the plug that `table` has under `name`.

    Raises:
        UnknownName: no such plug, with the closest names as a hint.
    """
    if name not in table:
        raise UnknownName(kind, name, table)
    module, _, attribute = table[name].partition(":")
    plug = importlib.import_module(module)
    return getattr(plug, attribute) if attribute else plug
