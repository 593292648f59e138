"""What a task of the harness is: digests of its configuration and its documents."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bitloss.spec.fingerprint import canonical_json, sha256_text

__all__ = ["config_digest", "documents_digest"]

# Where files lie decides nothing; what is in them has a digest of its own.
_PLACES = ("dataset_kwargs", "dataset_path", "config_source")


def config_digest(task: Any) -> str:
    """sha256 (hex) over a task's configuration, the source text of its functions included.

    Args:
        task: of the harness, with the number of shots that it is asked with.
    """
    return sha256_text(
        canonical_json([type(task).__qualname__, _plain(task.dump_config(), _PLACES)])
    )


def documents_digest(documents: Iterable[Any]) -> str:
    """sha256 (hex) over documents, in order."""
    return sha256_text("\n".join(json.dumps(_plain(one), sort_keys=True) for one in documents))


def _plain(value: Any, without: Collection[str] = ()) -> Any:
    """As JSON has it; of a function its source text, which an address in memory says nothing of."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        value = {field.name: getattr(value, field.name) for field in fields}
    if isinstance(value, Mapping):
        return {str(k): _plain(one, without) for k, one in value.items() if k not in without}
    if isinstance(value, list | tuple | set | frozenset):
        plain = [_plain(one, without) for one in value]
        return sorted(plain, key=str) if isinstance(value, set | frozenset) else plain
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if callable(value):
        value = getattr(value, "func", value)  # of a partial
        try:
            return inspect.getsource(value)
        except (OSError, TypeError):
            return getattr(value, "__qualname__", type(value).__qualname__)
    return str(value)
