"""Windows and questions as files: token ids beside what grading and reports need of an item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.errors import StorageError, TaskDataError
from bitloss.runner.tasks.plan import PlannedTask, Question
from bitloss.tasks.base import Item, Prompt
from bitloss.types import IntArray, Window

__all__ = ["read_questions", "read_windows", "write_questions", "write_windows"]

_FIELDS = ("first", "document", "place")


def write_windows(path: Path, windows: Sequence[Window]) -> None:
    """Write a corpus's windows as a parquet file: ``ids``, ``first``, ``document``, ``place``."""
    import pyarrow as pa

    columns = {"ids": pa.array([window.ids for window in windows], pa.list_(pa.int32()))}
    for name in _FIELDS:
        columns[name] = pa.array([getattr(window, name) for window in windows], pa.int32())
    _write(path, columns)


def read_windows(path: Path) -> tuple[Window, ...]:
    """Read them back.

    Raises:
        StorageError: the file is damaged.
    """
    rows = _read(path)
    return tuple(
        Window(_ids(row["ids"]), row["first"], row["document"], row["place"]) for row in rows
    )


def write_questions(path: Path, planned: PlannedTask) -> None:
    """Write a task's questions as a parquet file, a row for each.

    Raises:
        TaskDataError: an item has data that a file cannot hold.
    """
    import pyarrow as pa

    ids, strings = pa.list_(pa.int32()), pa.list_(pa.string())
    types = {
        "shots": strings, "options": strings, "gold": pa.int32(), "gold_answer": pa.string(),
        "prompt": ids, "windows": pa.list_(ids), "firsts": ids, "documents": ids,
        "shots_left_out": pa.int32(), "spans_boundary": pa.bool_(),
    }  # fmt: skip
    rows = [_row(question) for question in planned.questions]
    for row, question in zip(rows, planned.questions, strict=True):
        if _item(row) != replace(question.item, data=_listed(question.item.data)):
            raise TaskDataError(
                f"task `{planned.name}`: item `{question.item.id}` has data that is not plain",
                hint="leave the task out of the pack",
            )
    _write(
        path,
        {
            name: pa.array([row[name] for row in rows], types.get(name, pa.string()))
            for name in rows[0]
        },
    )


def read_questions(path: Path) -> tuple[Question, ...]:
    """Read them back.

    Raises:
        StorageError: the file is damaged.
    """
    return tuple(_question(row) for row in _read(path))


def _row(question: Question) -> dict[str, Any]:
    item = question.item
    return {
        "id": item.id,
        "subject": item.subject,
        "cluster": item.cluster,
        **_prompt_columns(item.prompt),
        "options": list(item.options),
        "option_prompts": _json([_prompt_columns(prompt) for prompt in item.option_prompts]),
        "delimiter": item.delimiter,
        "gold": item.gold,
        "gold_answer": item.gold_answer,
        "data": _json(dict(item.data)),
        "windows": [window.ids for window in question.windows],
        "firsts": [window.first for window in question.windows],
        "documents": [window.document for window in question.windows],
        "prompt": question.prompt,
        "shots_left_out": question.shots_left_out,
        "spans_boundary": question.spans_boundary,
    }


def _question(row: Mapping[str, Any]) -> Question:
    windows = zip(row["windows"], row["firsts"], row["documents"], strict=True)
    return Question(
        item=_item(row),
        windows=tuple(Window(_ids(ids), first, document) for ids, first, document in windows),
        prompt=None if row["prompt"] is None else _ids(row["prompt"]),
        shots_left_out=row["shots_left_out"],
        spans_boundary=row["spans_boundary"],
    )


def _item(row: Mapping[str, Any]) -> Item:
    return Item(
        id=row["id"],
        prompt=_prompt(row),
        subject=row["subject"],
        options=tuple(row["options"]),
        option_prompts=tuple(_prompt(one) for one in json.loads(row["option_prompts"])),
        delimiter=row["delimiter"],
        gold=row["gold"],
        gold_answer=row["gold_answer"],
        data=json.loads(row["data"]),
        cluster=row["cluster"],
    )


def _prompt_columns(prompt: Prompt) -> dict[str, Any]:
    return {
        "question": prompt.question,
        "shots": list(prompt.shots),
        "description": prompt.description,
        "messages": _json([dict(message) for message in prompt.messages]),
        "tools": _json([dict(tool) for tool in prompt.tools]),
    }


def _prompt(row: Mapping[str, Any]) -> Prompt:
    return Prompt(
        question=row["question"],
        shots=tuple(row["shots"]),
        description=row["description"],
        messages=tuple(json.loads(row["messages"])),
        tools=tuple(json.loads(row["tools"])),
    )


def _json(value: Any) -> str:
    # Whatever is not plain becomes text here, and is seen when the item is read back.
    return json.dumps(value, ensure_ascii=False, default=str)


def _listed(value: Any) -> Any:
    """A value with lists for tuples, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: _listed(one) for key, one in value.items()}
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def _ids(values: Sequence[int]) -> IntArray:
    return np.asarray(values, dtype=np.int32)


def _write(path: Path, columns: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns)), path, compression="zstd")


def _read(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows: list[dict[str, Any]] = file.read().to_pylist()
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path}: damaged ({error})", hint="download or copy the pack again, complete"
        ) from error
    return rows
