"""Exceptions as names and a message: how they cross the pipes."""

from __future__ import annotations

import builtins

TYPE_CHECKING = False  # as in `codec`
if TYPE_CHECKING:
    from typing import Any

__all__ = ["MESSAGE", "rebuild", "summarize"]

MESSAGE = 2000
"""Characters of an exception's message that are passed on."""
_NAMES = 50
# By these Python's own loops and generators end: raised in a call, they would end the caller's.
_ENDS = ("StopIteration", "StopAsyncIteration", "GeneratorExit")


def summarize(error: BaseException) -> list[Any]:
    """Names of the exception's type and its ancestors, nearest first, and its message."""
    names = [base.__name__ for base in type.__dict__["__mro__"].__get__(type(error))]
    try:
        (first,) = error.args if len(error.args) == 1 else (None,)
        # A KeyError's text is its key's representation, and would be made into one again.
        message = (first if type(first) is str else str(error))[:MESSAGE]
    except Exception:  # a message is no reason to lose the exception
        message = ""
    return [names[:_NAMES], message]


def rebuild(summary: Any) -> tuple[Exception, str]:
    """An exception of the nearest builtin type, and the name that its own type had.

    What would end a program becomes a RuntimeError, and so does what ends a loop, as it does in a
    generator (PEP 479): `all(map(f, ...))` must not take an exception of `f` for the end.

    Raises:
        TypeError, ValueError: this is no summary.
    """
    names, message = summary
    names, message = [str(name) for name in names], str(message)
    own = names[0] if names else ""
    failure = next(filter(None, map(_builtin, names)), None) or RuntimeError()
    if any(name in _ENDS for name in names):
        failure = RuntimeError()
        message = f"{own}: {message}" if message else own
    if message:
        failure.args = (message,)
    return failure, own


def _builtin(name: str) -> Exception | None:
    """An exception by its name; groups, which cannot be without members, are left out."""
    kind = getattr(builtins, name, None)
    if not isinstance(kind, type) or not issubclass(kind, Exception):
        return None
    return None if issubclass(kind, BaseExceptionGroup) else kind.__new__(kind)
