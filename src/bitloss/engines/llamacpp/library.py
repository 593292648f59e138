"""llama-cpp-python, imported in the child: loading a file, and what the library says about it."""

from __future__ import annotations

import ctypes
import os
import re
from collections import deque
from typing import Any

from bitloss.errors import CheckpointError, MissingDependency, UnsupportedModel

__all__ = ["Library"]

_KEPT_LINES = 50
_UNKNOWN = re.compile(r"unknown (?:model )?architecture: '?([^'\n]*)'?")
_FAILURES = (
    re.compile(r"error loading model[^:]*: (.+)"),
    re.compile(r"llama_init_from_model: (.+)"),
    re.compile(r"(?:failed|error)[^:]*: (.+)"),
)
# Said of every failure, and of no reason.
_EMPTY = re.compile(r"failed to (?:load model|initialize the context)$")


class Library:
    """The library, with its log kept: what it says last goes into messages.

    Raises:
        MissingDependency: llama-cpp-python is not installed.
    """

    def __init__(self) -> None:
        try:
            import llama_cpp
        except ImportError as error:
            raise MissingDependency(
                "llama-cpp-python", "engine `llama.cpp`", extra="gguf"
            ) from error
        self.api: Any = llama_cpp
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

        @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
        def on_log(level: int, text: bytes, user_data: Any) -> None:
            del level, user_data
            self._lines.append(text.decode(errors="replace").strip())
            os.write(2, text)  # for the parent, should this process die

        self._callback = on_log  # which llama.cpp calls for as long as the process lives
        llama_cpp.llama_log_set(on_log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()

    def load(self, path: str, name: str, *, weights: bool = True) -> Any:
        """Load a GGUF file, or all parts of one; without weights, what describes them only.

        Raises:
            UnsupportedModel: an architecture that this llama.cpp does not know.
            CheckpointError: the file is damaged or incomplete.
        """
        options = self.api.llama_model_default_params()
        options.n_gpu_layers = 0
        options.vocab_only = not weights
        self._lines.clear()
        model = self.api.llama_model_load_from_file(os.fsencode(path), options)
        if model:
            return model
        said = "\n".join(self._lines)
        if (unknown := _UNKNOWN.search(said)) is not None:
            raise UnsupportedModel(
                f"{name}: the installed llama.cpp does not know architecture `{unknown[1]}`",
                hint="use --engine dense, or a newer llama-cpp-python",
            )
        raise CheckpointError(
            f"{name}: llama.cpp cannot load this file{self.reason()}",
            hint="fetch or make the file again; --engine dense says more about its format",
        )

    def number(self, model: Any, key: str) -> int:
        """A number of the file's metadata, by its key without the architecture; 0 if absent."""
        text = ctypes.create_string_buffer(64)
        read = self.api.llama_model_meta_val_str
        if read(model, b"general.architecture", text, len(text)) < 0:
            return 0
        found = read(model, text.value + b"." + key.encode(), text, len(text))
        return int(text.value) if found > 0 and text.value.isdigit() else 0

    def tokens(self, model: Any, text: str) -> list[int]:
        """The tokens of a text, nothing added; texts of special tokens are read as these."""
        data = text.encode()
        room = len(data) + 2  # a blank is put before some, and no token stands for nothing
        ids = (self.api.llama_token * room)()
        vocabulary = self.api.llama_model_get_vocab(model)
        n = self.api.llama_tokenize(vocabulary, data, len(data), ids, room, False, True)
        return list(ids[:n])

    def reason(self) -> str:
        """What the library gave as a reason, ``: reason``; "" if it gave none."""
        for line in reversed(self._lines):
            for failure in _FAILURES:
                found = failure.search(line)
                if found is not None and not _EMPTY.search(found[1]):
                    return f": {found[1]}"
        return ""
