"""WinoGrande: which of two nouns a blank stands for.

Sakaguchi et al. 2019 (arXiv:1907.10641), ``winogrande_xl`` validation (the test split's answers
are not public). Partial evaluation as in lm-eval 0.4.13 (lm_eval/tasks/winogrande, with its
preprocess_winogrande.py; after Trinh & Le 2018, arXiv:1806.02847): the blank is filled with each
noun in turn, and what is scored is the rest of the sentence, the same for both. The score is
``acc``, the only metric there, which the Open LLM Leaderboard quotes as well (version 1, with 5
shots; here there are none).

Local layout: ``winogrande/winogrande_xl_validation.jsonl`` with the hub's columns.
"""

from __future__ import annotations

from bitloss.datasets.published import PublishedTable
from bitloss.datasets.tables import HubTable, Table, damaged_row
from bitloss.tasks.base import HarnessTask, Item, Prompt, Task, TaskFacts, unfiltered
from bitloss.tasks.choices import grade_acc, require_options
from bitloss.tasks.zero_shot import ZeroShot

__all__ = ["WINOGRANDE"]

_TABLE = PublishedTable(
    name="WinoGrande XL validation",
    file="winogrande/winogrande_xl_validation.jsonl",
    columns=("sentence", "option1", "option2", "answer"),
    rows=1_267,
    hub=HubTable("allenai/winogrande", "winogrande_xl", "validation"),
    digest="00860a6229442a1c22894c7067245162b24fe381931a834c476626a69e7ffb7b",
    folders=("winogrande",),
)


def _item(table: Table, index: int) -> Item:
    row = table.rows[index]
    before, blank, after = str(row["sentence"]).partition("_")
    rest = after.strip()
    if not blank or not rest:
        raise damaged_row(table, index, "a blank `_` with text after it", repr(row["sentence"]))
    gold = {"1": 0, "2": 1}.get(row["answer"])
    prompts = tuple(Prompt(f"{before}{row[option]}") for option in ("option1", "option2"))
    return Item(
        id=f"winogrande/{index}",
        prompt=Prompt(before),
        options=(rest, rest),
        option_prompts=prompts,
        gold=require_options(table, index, (rest, rest), gold, repr(row["answer"])),
    )


def _twins(table: Table, index: int) -> tuple[frozenset[str], str]:
    """What a sentence shares with its twin, in which a word differs and the other noun is right:
    both nouns, and how it begins. The data has 273 pairs of them.
    """
    row = table.rows[index]
    nouns = frozenset((str(row["option1"]), str(row["option2"])))
    return nouns, str(row["sentence"]).partition("_")[0][:25]


WINOGRANDE = Task(
    facts=TaskFacts(
        name="winogrande",
        capability="logic",
        metrics=("acc",),
        source="Sakaguchi et al. 2019 (arXiv:1907.10641), winogrande_xl validation",
        license="CC BY (data), Apache-2.0 (code)",
        n_items=1_267,
        chance=0.5,
        title="WinoGrande",
        hub=_TABLE.hub,
        harness=HarnessTask("winogrande", 1.0, unfiltered("acc")),
    ),
    load=ZeroShot("winogrande", _TABLE, _item, shared=_twins),
    grade=grade_acc,
)
