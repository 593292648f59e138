"""The `gguf` package, imported when it is first needed."""

from __future__ import annotations

import importlib
from typing import Any

from bitloss.errors import MissingDependency

__all__ = ["gguf_library"]


def gguf_library() -> Any:
    """The module `gguf` (llama.cpp's own Python package).

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return importlib.import_module("gguf")
    except ModuleNotFoundError as error:
        if error.name != "gguf":
            raise
        raise MissingDependency("gguf", "reading GGUF files", extra="gguf") from error
