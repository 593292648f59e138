"""JSON that is the same for the same values, and valid whatever the numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from bitloss.errors import DataError

__all__ = ["dumps", "keep_newer", "loads"]

# Left out instead of written as null: figures of one protocol only, what happens rarely or was
# not asked, and names reserved for later.
_OMITTED_WHEN_NONE = frozenset(
    {
        "answer",
        "byte_perplexity",
        "capabilities",
        "cost",
        "entropy",
        "flips",
        "gold_nll",
        "gold_nll_difference",
        "macro",
        "missing",
        "error",
        "precision",
        "rescored",
        "shots",
        "standard_error",
        "stopped",
        "suffering",
        "tasks",
        "until",
        "verdict",
        "word_perplexity",
    }
)


def dumps(values: dict[str, Any]) -> str:
    """Write plain values, keys in the order they have.

    An infinite or NaN number becomes null and is named in the ``notes`` of the innermost object
    that has them.
    """
    plain, _ = _plain(values, "")
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def loads(text: str | bytes, *, newest: int, name: str) -> dict[str, Any]:
    """Read a document with a ``schema_version``.

    Args:
        text: JSON.
        newest: the highest schema version that is understood.
        name: of the file, for errors.

    Raises:
        DataError: not JSON, not such a document, or of a newer schema.
    """
    try:
        values = json.loads(text, parse_constant=_refuse)
    except ValueError as fault:
        raise DataError(
            f"{name}: damaged, not JSON ({fault})",
            hint="make it again from the run directory: repeat the `bitloss compare`",
        ) from fault
    version = values.get("schema_version") if isinstance(values, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DataError(
            f"{name}: expected a comparison with a schema_version, got none",
            hint="give a comparison.json that `bitloss compare` wrote",
        )
    if version > newest:
        raise DataError(
            f"{name}: expected schema_version up to {newest}, got {version}: a newer bitloss "
            "wrote it",
            hint="pip install --upgrade bitloss",
        )
    assert isinstance(values, dict)
    return values


def keep_newer(result: Path, *, newest: int) -> None:
    """Refuse to overwrite what a newer bitloss wrote; anything else there is made anew.

    Args:
        result: the file.
        newest: the highest schema version that is understood.

    Raises:
        DataError: it is of a newer one.
    """
    try:
        version = json.loads(result.read_bytes())["schema_version"]
    except (OSError, ValueError, TypeError, KeyError):
        return
    if isinstance(version, int) and version > newest:
        raise DataError(
            f"{result}: expected schema_version up to {newest}, got {version}: "
            "a newer bitloss wrote it",
            hint="pip install --upgrade bitloss, or give another directory with --out",
        )


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")


def _plain(value: Any, path: str) -> tuple[Any, list[str]]:
    """The value as JSON knows it, and notes on numbers below it that nobody has noted yet."""
    if isinstance(value, float) and not math.isfinite(value):
        return None, [f"{path} is {'not a number' if math.isnan(value) else 'infinite'}"]
    if isinstance(value, list | tuple):
        pairs = [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
        return [plain for plain, _ in pairs], [note for _, notes in pairs for note in notes]
    if not isinstance(value, dict):
        return value, []
    plain: dict[str, Any] = {}
    pending: list[str] = []
    for key, item in value.items():
        if item is None and key in _OMITTED_WHEN_NONE:
            continue
        plain[key], notes = _plain(item, f"{path}.{key}" if path else key)
        pending.extend(notes)
    if "notes" in plain and pending:
        inside = path + "."
        plain["notes"] = [*plain["notes"], *(note.removeprefix(inside) for note in pending)]
        pending = []
    return plain, pending
