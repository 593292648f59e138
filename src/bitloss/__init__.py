"""What did quantization cost this language model, and where?

    >>> import bitloss
    >>> bitloss.evaluate_perplexity("./llama", "./llama-gptq-4")
    >>> result = bitloss.compare("./llama", ["./llama-q4.gguf", "gptq-4"], out="runs/llama")
    >>> result["gptq-4"].verdict.level
    >>> bitloss.load("runs/llama").to_dataframe("capabilities")
    >>> bitloss.check("runs/llama", max_kld=0.05).exit_code
    >>> bitloss.study("bits", ["./llama"], suite="quick")

Importing this package loads nothing heavy; the first call does.
"""

from __future__ import annotations

import importlib
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bitloss._version import __version__
from bitloss.errors import BitlossError

if sys.platform == "win32":
    # Files are locked by fcntl, which Windows lacks.
    raise ImportError("expected Linux or macOS, got Windows: install bitloss in WSL 2")

if TYPE_CHECKING:
    from bitloss.api import compare, evaluate_perplexity, quantize
    from bitloss.finished import card, check, leaderboard, load, report
    from bitloss.packing import pack
    from bitloss.results import Comparison
    from bitloss.spec.calibration import Calibration
    from bitloss.studies import study

__all__ = [
    "BitlossError",
    "Calibration",
    "Comparison",
    "__version__",
    "card",
    "check",
    "compare",
    "evaluate_perplexity",
    "leaderboard",
    "load",
    "pack",
    "quantize",
    "report",
    "study",
]

_LAZY = MappingProxyType(
    {
        "Calibration": "bitloss.spec.calibration",
        "Comparison": "bitloss.results",
        "card": "bitloss.finished",
        "check": "bitloss.finished",
        "compare": "bitloss.api",
        "evaluate_perplexity": "bitloss.api",
        "leaderboard": "bitloss.finished",
        "load": "bitloss.finished",
        "pack": "bitloss.packing",
        "quantize": "bitloss.api",
        "report": "bitloss.finished",
        "study": "bitloss.studies",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
