"""ARC: science questions from school tests, easy and challenging.

Clark et al. 2018, "Think you have Solved Question Answering?" (arXiv:1803.05457). Prompts and
scoring are those of lm-eval 0.4.13 (lm_eval/tasks/arc, tasks ``arc_easy`` and ``arc_challenge``):
the options' texts are scored, not their letters. Most questions have four options, some three or
five. lm-eval draws examples for a few-shot prompt at random from the training split; here there
are none.

The score is ``acc_norm``: so the Open LLM Leaderboard quotes ARC-Challenge (version 1, with 25
shots: its src/display/about.py, ``Task("arc:challenge", "acc_norm", "ARC")``), and so do most
tables that have ARC-Easy beside it. Some quote ``acc`` of the easy questions (Gu & Dao 2023,
arXiv:2312.00752, appendix E.2.3); it stands beside the score.

Local layout: ``arc/ARC-Easy_test.jsonl`` and ``arc/ARC-Challenge_test.jsonl`` with the hub's
columns.
"""

from __future__ import annotations

from bitloss.datasets.published import PublishedTable
from bitloss.datasets.tables import HubTable, Table, damaged_row
from bitloss.tasks.base import HarnessTask, Item, Prompt, Task, TaskFacts, unfiltered
from bitloss.tasks.choices import grade_acc_norm, require_options
from bitloss.tasks.zero_shot import ZeroShot

__all__ = ["ARC_CHALLENGE", "ARC_EASY"]

_COLUMNS = ("id", "question", "choices", "answerKey")


def _item(table: Table, index: int) -> Item:
    row = table.rows[index]
    choices = row["choices"]
    if not isinstance(choices, dict) or not {"text", "label"} <= choices.keys():
        raise damaged_row(table, index, "choices with `text` and `label`", repr(choices)[:80])
    labels, texts = list(choices["label"]), tuple(choices["text"])
    # The key is a letter or a digit; what it names is the label, whatever their kind.
    gold = labels.index(row["answerKey"]) if row["answerKey"] in labels else None
    shown = f"{row['answerKey']!r} of {', '.join(map(str, labels))}"
    return Item(
        id=str(row["id"]),
        prompt=Prompt(f"Question: {row['question']}\nAnswer:"),
        options=texts,
        gold=require_options(table, index, texts, gold, shown),
    )


def _task(name: str, config: str, rows: int, digest: str) -> Task:
    table = PublishedTable(
        name=f"{config} test",
        file=f"arc/{config}_test.jsonl",
        columns=_COLUMNS,
        rows=rows,
        hub=HubTable("allenai/ai2_arc", config, "test"),
        digest=digest,
        folders=(name, "arc"),
    )
    facts = TaskFacts(
        name=name,
        capability="knowledge (English)",
        metrics=("acc_norm", "acc"),
        version=2,  # 1 had acc as its score
        source="Clark et al. 2018 (arXiv:1803.05457), allenai/ai2_arc",
        license="CC BY-SA 4.0",
        n_items=rows,
        chance=0.25,
        title=config,
        hub=table.hub,
        harness=HarnessTask(name, 1.0, unfiltered("acc", "acc_norm")),
    )
    return Task(facts=facts, load=ZeroShot(name, table, _item), grade=grade_acc_norm)


ARC_EASY = _task(
    "arc_easy",
    "ARC-Easy",
    2_376,
    "6de70bf0c49e19628d0d05fed79a669f3c7610e42e67091a28518f057ba724cc",
)
ARC_CHALLENGE = _task(
    "arc_challenge",
    "ARC-Challenge",
    1_172,
    "cff409376a8238d27bd9bc2ba345357c134f0e543b69da24b083d08cabe0fee9",
)
