"""LAMBADA: the last word of a passage, which takes the whole passage to predict.

Paperno et al. 2016 (arXiv:1606.06031) in OpenAI's text, as lm-eval 0.4.13 has it
(lm_eval/tasks/lambada, task ``lambada_openai``): the word is right where greedy decoding would
have written it. That is ``acc``, the paper's measure and the one quoted. lm-eval's perplexity is
exp of the mean negative log-probability of the word, which a run reports as the NLL of the gold
answer.

Local layout: ``lambada/lambada_openai.jsonl`` with ``context`` and ``continuation``.
"""

from __future__ import annotations

from bitloss.datasets.published import PublishedTable
from bitloss.datasets.tables import HubTable, Table, damaged_row
from bitloss.tasks.base import HarnessTask, Item, Prompt, Task, TaskFacts, unfiltered
from bitloss.tasks.choices import grade_greedy
from bitloss.tasks.zero_shot import ZeroShot

__all__ = ["LAMBADA"]

_TABLE = PublishedTable(
    name="LAMBADA (OpenAI) test",
    file="lambada/lambada_openai.jsonl",
    columns=("context", "continuation"),
    rows=5_153,
    hub=HubTable("EleutherAI/lambada_openai", "default", "test"),
    digest="b44eb32dfb89ece72a550d3f0e97e0e3e796fb883b9df9ec57eccf5477608b36",
    folders=("lambada",),
    hub_columns=("text",),
)


def _item(table: Table, index: int) -> Item:
    row = table.rows[index]
    if table.from_hub:
        # The last space of the text divides it, whatever other white space it has.
        context, _, word = str(row["text"]).rpartition(" ")
    else:
        context, word = str(row["context"]), str(row["continuation"])
    if not context or not word.strip():
        raise damaged_row(table, index, "a context and a last word", repr(row)[:80])
    return Item(id=f"lambada/{index}", prompt=Prompt(context), options=(word,), gold=0)


LAMBADA = Task(
    facts=TaskFacts(
        name="lambada",
        capability="text completion",
        metrics=("acc",),
        source="Paperno et al. 2016 (arXiv:1606.06031), OpenAI's text",
        license="CC BY 4.0 (LAMBADA), MIT (OpenAI's text)",
        n_items=5_153,
        title="LAMBADA (OpenAI)",
        hub=_TABLE.hub,
        harness=HarnessTask("lambada_openai", 1.0, unfiltered("acc")),
    ),
    load=ZeroShot("lambada", _TABLE, _item),
    grade=grade_greedy,
)
