"""One way to name a piece of work by everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["canonical_json", "fingerprint", "sha256_files", "sha256_text"]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text.

    It is hashed, not read. Numbers that JSON lacks (``Infinity``, ``NaN``) stand in configs that
    people hold, and are written as Python writes them.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def fingerprint(value: Any) -> str:
    """The first 32 hex digits of the sha256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


def sha256_text(text: str) -> str:
    """Hex sha256 of the text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_files(paths: list[Path], *extra: str) -> str:
    """Hex sha256 over the files' contents in the given order, then over the `extra` texts.

    Each file is hashed on its own first, so that moving bytes from one shard's end to the next
    one's beginning changes the digest.
    """
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    for text in extra:
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()
