"""Text without the signs that neither HTML nor SVG can hold."""

from __future__ import annotations

import re

__all__ = ["printable"]

_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def printable(text: str) -> str:
    """The text; each control character, lone surrogate or non-character is replaced by U+FFFD."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)
