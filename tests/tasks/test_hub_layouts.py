"""Every task whose data the hub has reads them as the hub's tools leave them in a directory.

Oracle: the same rows, given by a stand-in for the library `datasets`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitloss import registry
from bitloss.datasets import hub
from bitloss.datasets.tables import HubTable, Row
from bitloss.tasks.base import Task

CODE = {
    "prompt": "def f():\n", "entry_point": "f", "canonical_solution": "    return 1\n",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
}  # fmt: skip
EXAM = {"question": "Q?", "A": "a", "B": "b", "C": "c", "D": "d", "answer": "B"}
SCIENCE = {
    "id": "M_1", "question": "Q?", "choices": {"text": ["a", "b"], "label": ["A", "B"]},
    "answerKey": "B",
}  # fmt: skip
FIRST = "data/{split}-00000-of-00001.parquet"
CONFIG = "{config}/{split}-00000-of-00001.parquet"
# By task: the file within the hub's repository, and a row of its table.
LAYOUTS: dict[str, tuple[str, Row]] = {
    "arc_challenge": (CONFIG, SCIENCE),
    "arc_easy": (CONFIG, SCIENCE),
    "ceval": (CONFIG, {"id": 0, **EXAM, "explanation": ""}),
    "gsm8k": (CONFIG, {"question": "1 + 1?", "answer": "Two.\n#### 2"}),
    "hellaswag": (FIRST, {
        "activity_label": "A", "ctx_a": "b", "ctx_b": "c", "endings": ["d", "e", "f", "g"],
        "label": "2",
    }),
    "humaneval": ("openai_humaneval/{split}-00000-of-00001.parquet",
                  {"task_id": "HumanEval/0", **CODE}),
    "humaneval_plus": ("data/{split}-00000-of-00001-5973903632b82d40.parquet",
                       {"task_id": "HumanEval/0", **CODE}),
    "ifeval": ("ifeval_input_data.jsonl", {
        "key": 1, "prompt": "No commas.", "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    }),
    "lambada": ("default/{split}/0000.parquet", {"text": "All of it but the last word"}),
    "logiqa": ("data/{split}-00000-of-00001-86d4e7ed9f4d6a4e.parquet",
               {"query": "Q?", "choices": ["(A)a", "(B)b"], "gold": [1]}),
    "mmlu": (CONFIG, {"question": "Q?", "subject": "", "choices": ["a", "b", "c", "d"],
                      "answer": 1}),
    "winogrande": (CONFIG, {
        "sentence": "Ann saw Eve and _ waved.", "option1": "Ann", "option2": "Eve", "answer": "2",
    }),
}  # fmt: skip


def rows_of(task: Task, table: HubTable) -> list[Row]:
    name = task.facts.name
    row = LAYOUTS[name][1]
    if name == "mmlu":
        return [{**row, "subject": s} for s in sorted(task.facts.groups) for _ in range(5)]
    if name == "ceval":
        return [{**row, "question": f"{table.config} {n}"} for n in range(5)]
    return [row] * (6 if name == "gsm8k" and table.split == "train" else 1)


def test_no_table_of_the_hub_is_left_out() -> None:
    tasks = {name: registry.load("task", registry.TASKS, name) for name in registry.TASKS}
    on_hub = {name for name, task in tasks.items() if task.facts.hub is not None}
    # BIG-Bench Hard needs worked examples besides: tests/tasks/test_bbh_data.py.
    assert on_hub - LAYOUTS.keys() == {name for name in on_hub if "bbh" in name}


@pytest.mark.parametrize("root", ["{owner}/{repository}", "{repository}", "{task}"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_items_are_those_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, root: str
) -> None:
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    task: Task = registry.load("task", registry.TASKS, name)
    asked: list[HubTable] = []

    def fetch(table: HubTable, *rest: Any) -> list[Row]:
        asked.append(table)
        return rows_of(task, table)

    monkeypatch.setattr(hub, "_fetch", fetch)
    expected = task.load(None)
    monkeypatch.setattr(hub, "_fetch", lambda *_: pytest.fail("the hub is asked"))
    assert asked
    for table in asked:
        owner, _, repository = table.repository.partition("/")
        folder = root.format(owner=owner, repository=repository, task=name)
        file = LAYOUTS[name][0].format(config=table.config, split=table.split)
        write(tmp_path / folder / file, rows_of(task, table))
    got = task.load(tmp_path)
    assert got.items == expected.items
    assert (got.digest, got.notes) == (expected.digest, expected.notes)
    assert str(tmp_path) in got.source


def write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        import json

        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_the_tests_of_humaneval_are_not_those_of_humaneval_plus(tmp_path: Path) -> None:
    """Both tables have the same columns and as many rows."""
    from bitloss.errors import TaskDataError

    task: Task = registry.load("task", registry.TASKS, "humaneval_plus")
    for folder in ("humaneval", "openai_humaneval"):
        write(tmp_path / folder / "data" / "test-00000-of-00001.parquet", [LAYOUTS["humaneval"][1]])
    with pytest.raises(TaskDataError, match="HumanEvalPlus"):
        task.load(tmp_path)
