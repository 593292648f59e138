"""Options of a run that only mean something with the chat template."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from bitloss.errors import UsageError

__all__ = ["MARKERS", "parse_markers", "parse_template_args"]

MARKERS = "<think>,</think>"
"""What most models put around their thinking."""


def parse_template_args(given: Mapping[str, Any] | Iterable[str]) -> dict[str, Any]:
    """Arguments of the chat template, from Python or from ``KEY=JSON`` texts.

    Raises:
        UsageError: no JSON (Python's ``False`` would be a text, and true), or a name given twice.
    """
    if isinstance(given, Mapping):
        pairs = {str(key): value for key, value in given.items()}
        for key, value in pairs.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                raise _no_json(key, repr(value)) from None
        return pairs
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise UsageError(
                f"--template-arg: expected KEY=JSON, got `{text}`",
                hint="write --template-arg enable_thinking=false",
            )
        if key in found:
            raise UsageError(f"--template-arg: `{key}` is given twice", hint="give it once")
        try:
            found[key] = json.loads(value, parse_constant=_refuse_constant)
        except ValueError:
            raise _no_json(key, value) from None
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(text)


def _no_json(key: str, value: str) -> UsageError:
    return UsageError(
        f"template argument `{key}`: expected JSON, got `{value}`",
        hint="write true, false, a number, or a text in double quotes "
        f"(--template-arg '{key}=\"text\"')",
    )


def parse_markers(text: str) -> tuple[str, str]:
    """What thinking begins and ends with, from ``BEGIN,END``.

    Raises:
        UsageError: not two texts that differ.
    """
    begin, comma, end = (part.strip() for part in text.partition(","))
    if not (begin and comma and end) or "," in end or begin == end:
        raise UsageError(
            f"thinking markers: expected BEGIN,END, got `{text}`",
            hint=f"write --thinking-markers '{MARKERS}'",
        )
    return begin, end
