"""The pocket suite's tasks: generated questions about the pocket model's own world.

The questions come with bitloss (``bitloss/pocket/tasks``); the folder `pocket` of the repository
writes them and trains the model, and no question was seen in its training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bitloss.tasks.base import Task, TaskItems
from bitloss.tasks.custom import load_task_file

__all__ = [
    "POCKET_CODE",
    "POCKET_COMPLETION",
    "POCKET_KNOWLEDGE_EN",
    "POCKET_KNOWLEDGE_ZH",
    "POCKET_LOGIC",
    "POCKET_MATH",
]

_FOLDER = Path(__file__).parents[1] / "pocket" / "tasks"


def _task(name: str, file: str) -> Task:
    task = load_task_file(_FOLDER / file)
    source = f"bitloss/pocket/tasks/{file}"

    def load(data: Path | None, *, shots: int | None = None) -> TaskItems:
        """The data does not depend on where bitloss is installed. Tests of programs need
        not be tried before every run: ``tests/pocket`` has tried those that are bundled.
        """
        return replace(task.load(data, shots=shots), source=source, places=())

    facts = replace(task.facts, name=name, source=f"generated, {source}")
    return replace(task, facts=facts, load=load)


POCKET_COMPLETION = _task("pocket_completion", "completion.yaml")
POCKET_KNOWLEDGE_EN = _task("pocket_knowledge_en", "knowledge_en.yaml")
POCKET_KNOWLEDGE_ZH = _task("pocket_knowledge_zh", "knowledge_zh.yaml")
POCKET_MATH = _task("pocket_math", "arithmetic.yaml")
POCKET_CODE = _task("pocket_code", "code.yaml")
POCKET_LOGIC = _task("pocket_logic", "logic.yaml")
