"""LogiQA: logical reasoning from the Chinese civil service examination, in English.

Liu et al. 2020 (arXiv:2007.08124) in the form of AGIEval (Zhong et al. 2023, arXiv:2304.06364,
file logiqa-en.jsonl). Prompts are AGIEval's zero-shot ones (its src/dataset_loader.py: no space
between passage and ``Q:``), which the hub's data set holds ready-made; scoring is that of lm-eval
0.4.13 (lm_eval/tasks/agieval, task ``agieval_logiqa_en``): the options' texts with their letters
are scored, not the letters alone. The score is ``acc``, as in AGIEval's paper and in lm-eval's
groups ``agieval`` and ``agieval_en``; ``agieval_nous`` averages ``acc_norm``, which stands beside.

Local layout: ``logiqa/logiqa-en.jsonl``, AGIEval's file.
"""

from __future__ import annotations

from bitloss.datasets.published import PublishedTable
from bitloss.datasets.tables import HubTable, Row, Table, damaged_row
from bitloss.tasks.base import HarnessTask, Item, Prompt, Task, TaskFacts, unfiltered
from bitloss.tasks.choices import grade_acc_norm, require_options
from bitloss.tasks.zero_shot import ZeroShot

__all__ = ["LOGIQA"]

_LETTERS = "ABCDEFG"
_TABLE = PublishedTable(
    name="LogiQA (English)",
    file="logiqa/logiqa-en.jsonl",
    columns=("passage", "question", "options", "label"),
    rows=651,
    hub=HubTable("hails/agieval-logiqa-en", None, "test"),
    digest="2992fe0e30533e7bdefb912cab247654e73f4215911c6ab1abd2c9ff5706226c",
    folders=("logiqa",),
    hub_columns=("query", "choices", "gold"),
)


def _item(table: Table, index: int) -> Item:
    row = table.rows[index]
    gold: int | None
    if table.from_hub:
        query, options = str(row["query"]), tuple(row["choices"])
        gold = row["gold"][0] if len(row["gold"]) == 1 else None
        shown = repr(row["gold"])
    else:
        options = tuple(row["options"])
        if len(options) > len(_LETTERS):
            raise damaged_row(table, index, f"up to {len(_LETTERS)} options", str(len(options)))
        query, shown = _query(row, options), repr(row["label"])
        gold = _LETTERS.index(row["label"]) if row["label"] in tuple(_LETTERS) else None
    return Item(
        id=f"logiqa/{index}",
        prompt=Prompt(query),
        options=options,
        gold=require_options(table, index, options, gold, shown),
    )


def _passage(table: Table, index: int) -> str | None:
    """The passage that a question is about; 132 of the 651 questions share theirs."""
    row = table.rows[index]
    if not table.from_hub:
        return row["passage"] or None
    return str(row["query"]).rpartition(" Answer Choices: ")[0].rpartition("Q: ")[0] or None


def _query(row: Row, options: tuple[str, ...]) -> str:
    last = _LETTERS[len(options) - 1]
    return (
        f"{row['passage'] or ''}Q: {row['question']} Answer Choices: {' '.join(options)}\n"
        f"A: Among A through {last}, the answer is"
    )


LOGIQA = Task(
    facts=TaskFacts(
        name="logiqa",
        capability="logic",
        metrics=("acc", "acc_norm"),
        source="Liu et al. 2020 (arXiv:2007.08124), AGIEval's logiqa-en",
        license="MIT (AGIEval); LogiQA as upstream",
        n_items=651,
        chance=0.25,
        title="LogiQA",
        hub=_TABLE.hub,
        harness=HarnessTask("agieval_logiqa_en", 1.0, unfiltered("acc", "acc_norm")),
    ),
    load=ZeroShot("logiqa", _TABLE, _item, shared=_passage),
    grade=grade_acc_norm,
)
