"""The child's side: load a model, and answer requests until the parent is gone.

Runs as ``python -m bitloss.engines.child.serve PIPE MEMORY``, two file descriptors. Messages from
the parent are pickled, those to it are JSON:

    {"load": "module:function", "values": {...}}  ->  {"vocabulary": 2048, ...}
    {"logits": [[ids, first], ...]}               ->  {"slot": 3, "rows": 64} ..., {"end": true}
    {"texts": [[ids, most tokens], ...]}          ->  {"steps": [0, 2], "slot": 3} ..., the same
    {"likely": [[ids, first], ...]}               ->  {"index": 0, "likely": ...} ..., the same
    {"requests": [GenerateRequest ...]}           ->  {"index": 0, "text": {...}} ..., the same
    {"tokens": [17, -1]}                              the next token of each; -1 ends a text
    {"free": [3, 4]}                                  slots to write to again, at any time
    {"cancel": true}                                  the parent wants no more of this request

Everything that the model and libraries print goes to a file, whose end the parent quotes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bitloss.engines.child.memory import ROWS, Layout, WriteSlots
from bitloss.errors import BitlossError
from bitloss.requests import GenerateRequest
from bitloss.system_errors import explain
from bitloss.types import Window

__all__ = ["main"]


class _Server:
    """Answers the requests of one parent."""

    def __init__(self, pipe: Connection, memory: int) -> None:
        self._pipe = pipe
        self._memory = memory
        self._model: Any = None
        self._slots: WriteSlots | None = None

    def run(self) -> None:
        """Until the parent closes the pipe."""
        while True:
            message = self._receive()
            try:
                if "load" in message:
                    self._load(message["load"], message["values"])
                elif "logits" in message:
                    self._logits(message["logits"])
                elif "texts" in message:
                    self._texts(message["texts"])
                elif "likely" in message:
                    self._likely(message["likely"])
                elif "requests" in message:
                    self._write(message["requests"])
                elif "free" in message:
                    self._free(message["free"])
            except BitlossError as error:
                self._send_error(type(error).__name__, error.message, error.hint)
            except (EOFError, BrokenPipeError):
                raise
            except Exception as error:
                traceback.print_exc()
                known = explain(error)
                if known is not None:
                    self._send_error(type(known).__name__, known.message, known.hint)
                    continue
                sys.stderr.flush()
                self._send_error("", f"{type(error).__name__}: {error}", "")

    def _load(self, function: str, values: dict[str, Any]) -> None:
        module, _, name = function.partition(":")
        self._model = getattr(importlib.import_module(module), name)(**values)
        vocabulary = int(self._model.vocabulary)
        self._slots = WriteSlots(Layout(vocabulary), self._memory)
        facts = getattr(self._model, "facts", {})
        self._send({"vocabulary": vocabulary, **facts})

    def _logits(self, packed: list[tuple[np.ndarray[Any, Any], int]]) -> None:
        assert self._slots is not None
        windows = [Window(ids, first) for ids, first in packed]
        together = getattr(self._model, "logits_of", None)
        blocks: Iterable[Any] = (
            (block for window in windows for block in self._model.logits(window))
            if together is None
            else together(windows)
        )
        for rows in _cut(blocks):
            if not self._wait_for_slot():
                break
            slot = self._slots.write(rows)
            self._send({"slot": slot, "rows": len(rows)})
        self._send({"end": True})

    def _texts(self, prompts: list[tuple[np.ndarray[Any, Any], int]]) -> None:
        assert self._slots is not None
        steps = self._model.steps(prompts)
        tokens: list[int] | None = None
        while True:
            try:
                indices, rows = steps.send(tokens)
            except StopIteration:
                break
            if not self._wait_for_slot():
                break
            self._send({"steps": indices, "slot": self._slots.write(rows)})
            tokens = self._wait_for_tokens()
            if tokens is None:
                break
        self._send({"end": True})

    def _likely(self, packed: list[tuple[np.ndarray[Any, Any], int]]) -> None:
        windows = [Window(ids, first) for ids, first in packed]
        for index, found in self._model.likely(windows):
            if not self._wait_for_slot():
                break
            self._send({"index": index, "likely": found})
        self._send({"end": True})

    def _write(self, requests: list[GenerateRequest]) -> None:
        for index, text in self._model.generate(requests):
            if not self._wait_for_slot():
                break
            self._send({"index": index, "text": asdict(text)})
        self._send({"end": True})

    def _wait_for_tokens(self) -> list[int] | None:
        while True:
            message = self._receive()
            if "tokens" in message:
                tokens: list[int] = message["tokens"]
                return tokens
            if "cancel" in message:
                return None
            self._free(message["free"])

    def _wait_for_slot(self) -> bool:
        """Take what the parent gives back; False if it wants no more."""
        assert self._slots is not None
        while self._pipe.poll() or not self._slots.free:
            message = self._receive()
            if "cancel" in message:
                return False
            self._free(message["free"])
        return True

    def _free(self, slots: list[int]) -> None:
        assert self._slots is not None
        self._slots.free.extend(slots)

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = pickle.loads(self._pipe.recv_bytes())
        return message

    def _send(self, message: dict[str, Any]) -> None:
        self._pipe.send_bytes(json.dumps(message).encode())

    def _send_error(self, kind: str, message: str, hint: str) -> None:
        self._send({"error": kind, "message": message, "hint": hint})


def _cut(blocks: Iterable[Any]) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    for block in blocks:
        rows = np.asarray(block, np.float32)
        for at in range(0, len(rows), ROWS):
            yield rows[at : at + ROWS]


def _die_with_parent() -> None:
    # The other end of stdin is the parent's alone.
    while os.read(0, 1):
        pass
    os._exit(1)


def main(pipe: int, memory: int) -> None:
    """Serve the parent at the other end of the pipe. Does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        _Server(Connection(pipe), memory).run()
    # Not sys.exit: teardown of native libraries decides nothing any more.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
