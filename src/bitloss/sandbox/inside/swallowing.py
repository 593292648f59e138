"""Whether an exception was handled by a statement, or swallowed on the way by what called.

`hasattr`, `getattr` with a default and loops over an object that only has ``__getitem__`` take an
exception of what they call for an absence or an end, as `all(map(f, ...))` does with
StopIteration. Tests that run a solution there would pass on its exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType

__all__ = ["was_swallowed"]


def was_swallowed(error: BaseException, raised_by: str) -> bool:
    """Whether the outermost frame that an exception reached has no handler where it stood.

    To be asked once nothing handles the exception any more. A frame lets an exception go on if no
    entry of its table covers the instruction; one that did so, and whose caller never saw the
    exception, was called by something that swallowed it.

    Args:
        error: the exception.
        raised_by: the module that raised it, within a handler of its own: before Python 3.12 only
            handlers give an exception a traceback, and it must have one to be changed or kept.
    """
    reached = error.__traceback__
    if reached is None:  # taken off it by who handled it, as unittest does
        return False
    if reached.tb_frame.f_globals.get("__name__") == raised_by:
        return True
    handlers = _handlers(reached.tb_frame.f_code)
    return not any(start <= reached.tb_lasti < end for start, end in handlers)


def _handlers(code: CodeType) -> Iterator[tuple[int, int]]:
    """First byte and one past the last of what each handler covers.

    Source: CPython's Objects/exception_handling_notes.txt (since 3.11).
    """
    table = iter(code.co_exceptiontable)
    while (first := next(table, None)) is not None:
        start = _number(first, table) * 2
        length = _number(next(table), table) * 2
        _number(next(table), table)  # where the handler is
        _number(next(table), table)  # depth of the stack there, and a flag
        yield start, start + length


def _number(byte: int, table: Iterator[int]) -> int:
    value = byte & 63
    while byte & 64:
        byte = next(table)
        value = value << 6 | byte & 63
    return value
