"""Sizes in bytes as people write them."""

from __future__ import annotations

import re

from bitloss.errors import UsageError

__all__ = ["parse_size"]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str, option: str) -> int:
    """Bytes of ``8GB``, ``500 MB``, ``1.5GiB`` (of 1,024) or a number alone.

    Args:
        text: as the user wrote it.
        option: what was given so, for the message.

    Raises:
        UsageError: it is none of them, or nothing.
    """
    found = _SIZE.fullmatch(text)
    size = 0.0
    if found is not None:
        number, unit, binary = found.groups()
        size = float(number) * (1024 if binary else 1000) ** _POWERS[unit.upper()]
    if size < 1:
        raise UsageError(
            f"{option}: expected a size, got `{text}`", hint="write it as 8GB or 500MB"
        )
    return int(size)
