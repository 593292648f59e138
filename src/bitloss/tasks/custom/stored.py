"""A task file without its rows: enough to grade items that are kept elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitloss.spec.documents import Document, raise_issues, validate
from bitloss.tasks.base import Task
from bitloss.tasks.custom.files import assemble, read_definition
from bitloss.tasks.custom.items import TaskContent
from bitloss.tasks.custom.schema import Definition

__all__ = ["restore_task", "store_definition"]

_ROWS = ("data", "items", "shots", "columns")


def store_definition(path: Path) -> dict[str, Any]:
    """The keys of a task file that say how answers are asked for and graded, as plain values.

    Raises:
        UsageError: it cannot be read.
    """
    document, _ = read_definition(path)
    return {key: value for key, value in document.value.items() if key not in _ROWS}


def restore_task(stored: Mapping[str, Any], source: str) -> Task:
    """The task that grades answers as the file's task does; it has no items of its own.

    Args:
        stored: from `store_definition`.
        source: where the file was, for messages.

    Raises:
        UsageError: this version of bitloss does not know such a task.
    """
    path = Path(source)
    definition, mistakes = validate(Definition, Document(path, dict(stored)))
    raise_issues(path, "task", mistakes, hint="use the bitloss that wrote it")
    assert definition is not None, "it has no mistakes"
    return assemble(definition, TaskContent((), "", source), path)
