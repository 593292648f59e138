"""JSON of files that others wrote: one way to read it, with bounds on what it may be.

Python's reader takes nesting up to the interpreter's own limit, and halves of surrogate pairs. What
comes next (copies, hashes, output) then fails where nobody expects it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

__all__ = ["DEEPEST", "describe_half", "parse_json", "parse_json_at"]

DEEPEST = 100
"""Lists and objects within each other; no format that is read here comes near it."""

_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(
    text: bytes | str,
    *,
    allow_halves: bool = False,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """The value of a JSON text.

    Args:
        text: UTF-8 where it is bytes.
        allow_halves: whether strings may hold half a surrogate pair, which is no text.
        parse_constant: called for NaN and infinities; None takes them as numbers.

    Raises:
        ValueError: it is not JSON, nested too deep, or has half a surrogate pair in it.
    """
    decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        value = json.loads(decoded, parse_constant=parse_constant)
    except RecursionError as error:
        raise _too_deep() from error
    _check(value, decoded, allow_halves=allow_halves)
    return value


def parse_json_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at a position of a text, and where it ends; halves are allowed.

    Raises:
        ValueError: there is none, or it is nested too deep.
    """
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except RecursionError as error:
        raise _too_deep() from error
    _check(value, "", allow_halves=True)
    return value, end


def describe_half(text: str) -> str:
    """The first half of a surrogate pair in a text, for messages; empty if there is none."""
    half = None if text.isascii() else _HALF.search(text)
    return "" if half is None else f"half of a surrogate pair (\\u{ord(half[0]):04x})"


def _check(value: Any, text: str, *, allow_halves: bool) -> None:
    """Walk over the value, level by level."""
    strings = not allow_halves and bool(_ESCAPED_HALF.search(text) or describe_half(text))
    level = [value]
    for _ in range(DEEPEST + 1):
        if strings and (half := next(filter(None, map(describe_half, _strings(level))), "")):
            raise ValueError(half)
        holders = [item for item in level if isinstance(item, dict | list)]
        if not holders:
            return
        level = [
            child
            for holder in holders
            for child in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(child, dict | list) or (strings and isinstance(child, str))
        ]
    raise _too_deep()


def _strings(level: list[Any]) -> list[str]:
    keys = [key for holder in level if isinstance(holder, dict) for key in holder]
    return [*keys, *(item for item in level if isinstance(item, str))]


def _too_deep() -> ValueError:
    return ValueError(f"lists or objects more than {DEEPEST} deep")
