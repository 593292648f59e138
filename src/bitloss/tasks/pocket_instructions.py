"""The pocket suite's instructions: short replies under constraints that a program verifies.

The constraints are kinds of IFEval's and judged by its checkers; requests and solved example come
with bitloss (``bitloss/pocket/tasks``), written by the folder `pocket` of the repository.
"""

from __future__ import annotations

from pathlib import Path

from bitloss.datasets.tables import Table, combined_digest, damaged_row, read_jsonl
from bitloss.errors import UsageError
from bitloss.requests import Decoding
from bitloss.sandbox.base import Sandbox
from bitloss.tasks.base import Answer, Grade, Item, Prompt, Task, TaskFacts, TaskItems
from bitloss.tasks.ifeval import task as ifeval
from bitloss.tasks.ifeval.instructions import read_instruction

__all__ = ["POCKET_INSTRUCTIONS", "load"]

_FOLDER = Path(__file__).parents[1] / "pocket" / "tasks"
_COLUMNS = ("question", "answer", "instructions")
_METRICS = ("prompt_level_strict_acc", "inst_level_strict_acc")


def load(data: Path | None, *, shots: int | None = None) -> TaskItems:
    """See `bitloss.tasks.base.Load`; the items come with bitloss, whatever `data` is."""
    del data
    examples = read_jsonl(_FOLDER / "instructions.shots.jsonl", _COLUMNS)
    if shots is not None and not 0 <= shots <= len(examples.rows):
        raise UsageError(
            f"expected 0 to {len(examples.rows)} shots for pocket_instructions, got {shots}",
            hint="omit the shot count, or give one in that range",
        )
    shown = tuple(f"{row['question']} {row['answer']}\n\n" for row in examples.rows[:shots])
    table = read_jsonl(_FOLDER / "instructions.jsonl", _COLUMNS)
    items = tuple(_item(table, index, shown) for index in range(len(table.rows)))
    digest = combined_digest([examples, table])
    return TaskItems(items, digest, "bitloss/pocket/tasks/instructions.jsonl")


def _item(table: Table, index: int, shots: tuple[str, ...]) -> Item:
    row = table.rows[index]
    try:
        instructions = tuple(read_instruction(*pair) for pair in row["instructions"])
    except (TypeError, ValueError) as error:
        raise damaged_row(table, index, "instructions of IFEval", str(error)) from error
    return Item(
        id=f"pocket_instructions/{index}",
        prompt=Prompt(str(row["question"]), shots),
        gold_answer=str(row["answer"]),
        data={"instructions": instructions},
    )


def grade(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """IFEval's strict accuracies: of requests (all constraints followed) and of constraints."""
    graded = ifeval.grade(item, answer, sandbox)
    scores = {metric: graded.scores[metric] for metric in _METRICS}
    weights = {key: value for key, value in graded.weights.items() if key in scores}
    return Grade(scores, weights, graded.detail)


POCKET_INSTRUCTIONS = Task(
    TaskFacts(
        name="pocket_instructions",
        capability="instruction following",
        metrics=_METRICS,
        source="generated, bitloss/pocket/tasks/instructions.jsonl",
        license="Apache-2.0",
        n_items=500,
        decoding=Decoding(max_new_tokens=48, stop=("\n\n",)),
    ),
    load,
    grade,
)
