"""How large the file may be: ``3.2MB``, ``4.5bpw``, or as large as a recipe's file."""

from __future__ import annotations

import re

from bitloss.errors import UsageError

__all__ = ["parse_size", "require_possible"]

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9,
          "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}  # fmt: skip


def parse_size(text: str, parameters: int) -> int:
    """Bytes of a file.

    Args:
        text: a number and a unit: bytes without one, or ``bpw``, bits per weight.
        parameters: of the model.

    Raises:
        UsageError: it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", text)
    unit = "" if found is None else found[2].lower()
    if found is None or unit not in {*_UNITS, "bpw"} or float(found[1]) <= 0:
        raise UsageError(
            f"expected a size, got `{text}`", hint="write --size 3.2MB, 1.5GiB or 4.5bpw"
        )
    number = float(found[1])
    return int(number * parameters / 8) if unit == "bpw" else int(number * _UNITS[unit])


def require_possible(size: int, smallest: int, largest: int) -> None:
    """Refuse sizes that no choice of types has.

    Raises:
        UsageError: names the smallest and the largest.
    """
    if size < smallest:
        raise UsageError(
            f"expected a size of at least {smallest:,} bytes, all tensors in the smallest type, "
            f"got {size:,}",
            hint=f"use --size {smallest} or more",
        )
    if size > largest:
        raise UsageError(
            f"expected a size of at most {largest:,} bytes, all tensors in the largest type, got "
            f"{size:,}: there is nothing to choose",
            hint=f"use --size {largest} or less, or gguf-q8_0",
        )
