"""Environment variables that bitloss reads, all of them here.

Options go before variables: a variable holds what is the same for every run on a machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "API_KEY",
    "CACHE",
    "DATA",
    "DEBUG",
    "OPENAI_API_KEY",
    "STEP_SUMMARY",
    "VARIABLES",
    "Variable",
    "api_key",
    "cache_directory",
    "data_directory",
    "debug",
    "step_summary",
    "thread_settings",
]


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable; one that is set to nothing counts as not set.

    Attributes:
        name: as a shell sets it.
        meaning: what its value is, and what holds without it; one line.
    """

    name: str
    meaning: str

    def read(self) -> str:
        """The value, ``""`` if the variable is not set."""
        return os.environ.get(self.name, "")


DATA = Variable(
    "BITLOSS_DATA",
    "Directory with local data, in the upstream layouts; used without `--data`. "
    "Default: data comes from the hub.",
)
CACHE = Variable(
    "BITLOSS_CACHE",
    "Directory for variants made from recipes. Default: the user's cache directory.",
)
DEBUG = Variable(
    "BITLOSS_DEBUG",
    "Set to anything but 0 to show tracebacks, as `bitloss --debug` does. Default: off.",
)
STEP_SUMMARY = Variable(
    "GITHUB_STEP_SUMMARY",
    "File that GitHub Actions shows as a job's summary. `bitloss check --markdown` appends to "
    "this file, and replaces any other. Default: none.",
)
API_KEY = Variable(
    "BITLOSS_API_KEY",
    "API key for the server of `--engine server=URL`; never written to disk. "
    "Default: OPENAI_API_KEY, or none.",
)
OPENAI_API_KEY = Variable(
    "OPENAI_API_KEY", "API key as OpenAI's own clients read it; used without BITLOSS_API_KEY."
)

VARIABLES = (DATA, CACHE, DEBUG, STEP_SUMMARY, API_KEY, OPENAI_API_KEY)
"""All of them, as ``docs/options.md`` lists them."""


def data_directory() -> Path | None:
    """The directory with local data (`DATA`); it may not exist. None if not set."""
    return _path(DATA)


def cache_directory() -> Path:
    """The directory where bitloss keeps made variants (`CACHE`, else the user's cache)."""
    import platformdirs

    return _path(CACHE) or platformdirs.user_cache_path("bitloss")


def debug() -> bool:
    """Whether tracebacks are wanted (`DEBUG`)."""
    return DEBUG.read() not in ("", "0")


def api_key() -> str:
    """The key for a model server (`API_KEY`, else `OPENAI_API_KEY`); empty if neither is set."""
    return (API_KEY.read() or OPENAI_API_KEY.read()).strip()


def step_summary() -> Path | None:
    """The file that a build server shows as its summary (`STEP_SUMMARY`). None if not set."""
    return _path(STEP_SUMMARY)


def _path(variable: Variable) -> Path | None:
    value = variable.read()
    return Path(value).expanduser() if value else None


def thread_settings() -> tuple[str | int | None, ...]:
    """What decides how many threads the libraries of arithmetic take; rounding depends on it."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return (os.cpu_count(), *(os.environ.get(name) for name in names))
