"""Everything bitloss raises on purpose.

An error in the user's input or machine is always one of these, with a message that says what was
expected and what was found, and a hint that says what to do. Any other exception that escapes is a
bug.

    BitlossError                 exit code 1
    ├── UsageError               exit code 2: the command or call itself is wrong
    │   ├── UnknownName          no such recipe, protocol, corpus, engine ... (did you mean)
    │   └── MissingDependency    an optional package is not installed (the install command)
    ├── DataError                a file or data set is missing, damaged or unsuitable
    │   ├── CheckpointError      model weights or their configuration
    │   ├── UnsupportedModel     readable, but of a kind bitloss does not score
    │   ├── CorpusError          text that cannot be scored under the protocol
    │   └── TaskDataError        a task's files are missing or damaged (file, line)
    ├── Incomparable             reference and variant cannot be compared; names the difference
    ├── NumericalError           NaN or infinite values where there must be numbers
    ├── QuantizationError        a recipe could not be carried out
    ├── SandboxError             the sandbox itself failed; nothing is known of the program
    ├── ServerError              a model server could not be reached, refused, or answered nonsense
    ├── HubError                 a hub could not be reached or does not have it
    └── StorageError             the run directory or cache cannot be written or read
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TypeVar

E = TypeVar("E", bound="BitlossError")

__all__ = [
    "BitlossError",
    "CheckpointError",
    "CorpusError",
    "DataError",
    "HubError",
    "Incomparable",
    "MissingDependency",
    "NumericalError",
    "QuantizationError",
    "SandboxError",
    "ServerError",
    "StorageError",
    "TaskDataError",
    "UnknownName",
    "UnsupportedModel",
    "UsageError",
]


_LONG_WORD = re.compile(r"\S{301,}")
_LONGEST_LINE = 1000
# What a terminal would obey, and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _shortened(text: str) -> str:
    """A message without what hostile or broken files may put into it: names of pages' length."""
    text = _LONG_WORD.sub(lambda word: f"{word[0][:120]}...{word[0][-60:]}", text)
    lines = [
        line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} ..."
        for line in text.split("\n")
    ]
    return _UNPRINTABLE.sub(lambda sign: ascii(sign[0])[1:-1], "\n".join(lines))


class BitlossError(Exception):
    """Base class of all errors: `message` says what is wrong, `hint` what to do (may be empty)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = _shortened(message)
        self.hint = _shortened(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


def not_there(error: E) -> E:
    """The same error for a file or folder that was named and is not there.

    Its exit code is that of a wrong command, whatever the file was to be: a typing error in a path
    is one as much as in a name.
    """
    error.exit_code = UsageError.exit_code
    return error


class UsageError(BitlossError):
    """The command line or call is wrong, whatever the data."""

    exit_code = 2


class UnknownName(UsageError):  # noqa: N818 - reads better at the raise
    """A name that is not in the registry it was looked up in."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        suggestion = f"did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else ""
        listing = f"known: {', '.join(names)}" if names else ""
        super().__init__(
            f"unknown {kind} `{name}`",
            hint=" ".join(part for part in (suggestion, hint or listing) if part),
        )


class MissingDependency(UsageError):  # noqa: N818
    """An optional package is needed and not installed."""

    def __init__(self, package: str, needed_for: str, *, extra: str) -> None:
        super().__init__(
            f"{needed_for} needs the package `{package}`, which is not installed",
            hint=f'pip install "bitloss[{extra}]"',
        )


class DataError(BitlossError):
    """A file or data set is missing, damaged or unfit for its use."""


class CheckpointError(DataError):
    """Model weights or their configuration are missing, truncated or contradict each other."""


class UnsupportedModel(DataError):  # noqa: N818
    """The model can be read but is of a kind bitloss does not score."""


class CorpusError(DataError):
    """The text cannot be scored under the protocol asked for."""


class TaskDataError(DataError):
    """A task's data is missing, damaged or in a layout that is not known."""


class Incomparable(BitlossError):  # noqa: N818
    """Reference and variant differ in something that makes a comparison meaningless."""


class NumericalError(BitlossError):
    """A model produced NaN or infinite values."""


class QuantizationError(BitlossError):
    """A recipe could not be carried out on this model."""


class SandboxError(BitlossError):
    """The sandbox itself failed; nothing is known of the program that it was to run."""


class ServerError(BitlossError):
    """A model server cannot be reached, refuses a request, or gives no usable answer to it."""


class HubError(BitlossError):
    """A model or data hub cannot be reached, or does not have what was asked for."""


class StorageError(BitlossError):
    """The run directory or the cache cannot be read or written."""
