"""HellaSwag: which of four endings continues a description of an everyday event.

Zellers et al. 2019, "HellaSwag: Can a Machine Really Finish Your Sentence?" (arXiv:1905.07830),
validation split (the test split's labels are not public). Prompts and scoring are those of lm-eval
0.4.13 (lm_eval/tasks/hellaswag, with its utils.py). The score is ``acc_norm``, as the Open LLM
Leaderboard quotes it (version 1, with 10 shots, of which there are none here: its
src/display/about.py, ``Task("hellaswag", "acc_norm", "HellaSwag")``); ``acc`` stands beside it.

Local layouts, the first that is there:

- ``hellaswag/hellaswag_val.jsonl``, the authors' file;
- the hub's (`bitloss.datasets.snapshots`);
- ``hellaswag/hellaswag_val_1000.olmes.jsonl``: 1,000 of its rows, whose ``ctx`` and ``endings``
  have been through the clean-up below already.
"""

from __future__ import annotations

import re
from pathlib import Path

from bitloss.datasets.local import data_directory, find_file
from bitloss.datasets.snapshots import find_snapshot, local_or_hub_table
from bitloss.datasets.tables import HubTable, Row, Table, deviations, read_jsonl
from bitloss.tasks.base import HarnessTask, Item, Prompt, Task, TaskFacts, TaskItems, unfiltered
from bitloss.tasks.choices import grade_acc_norm, require_options
from bitloss.tasks.clusters import with_clusters
from bitloss.tasks.shots import require_shots, resolve_shots

__all__ = ["HELLASWAG"]

_ROWS = 10_042
_FULL = "hellaswag/hellaswag_val.jsonl"
_SUBSET = "hellaswag/hellaswag_val_1000.olmes.jsonl"
_HUB = HubTable("Rowan/hellaswag", None, "validation")
_FOLDERS = ("hellaswag",)
_COLUMNS = ("activity_label", "ctx_a", "ctx_b", "endings", "label")


def load(data: Path | None, *, shots: int | None = None) -> TaskItems:
    """See `bitloss.tasks.base.Load`; no shots."""
    require_shots("hellaswag", resolve_shots("hellaswag", shots), 0)
    path = find_file(data_directory(data), (_FULL,)) or _subset(data)
    cleaned = path is not None and path.name == Path(_SUBSET).name
    if path is None:
        table = local_or_hub_table(
            data,
            _HUB,
            expected=f"{_FULL} or {_SUBSET}",
            columns=_COLUMNS,
            folders=_FOLDERS,
            origin="github.com/rowanz/hellaswag",
        )
    else:
        table = read_jsonl(path, ("ctx", "endings", "label") if cleaned else _COLUMNS)
    items = with_clusters(
        [_item(table, index, cleaned=cleaned) for index in range(len(table.rows))],
        # The video or article that a description is from; the file of 1,000 rows does not say.
        [row.get("source_id") for row in table.rows],
    )
    notes = deviations("HellaSwag validation", [table], rows=_ROWS)
    return TaskItems(items, table.digest, table.source, notes)


def _subset(data: Path | None) -> Path | None:
    """The file of 1,000 rows, unless the complete split is there as the hub has it."""
    directory = data_directory(data)
    if directory is None or find_snapshot(directory, _HUB, _FOLDERS):
        return None
    return find_file(directory, (_SUBSET,))


def _item(table: Table, index: int, *, cleaned: bool) -> Item:
    row = table.rows[index]
    if cleaned:
        query, endings = str(row["ctx"]), tuple(row["endings"])
    else:
        query = _clean(_query(row))
        endings = tuple(_clean(str(ending)) for ending in row["endings"])
    # An integer in one file, its digits in another; empty where the label is kept secret.
    label = str(row["label"])
    gold = int(label) if label.isdecimal() else None
    return Item(
        id=f"hellaswag/{index}",
        prompt=Prompt(query),
        options=endings,
        gold=require_options(table, index, endings, gold, repr(row["label"])),
    )


def _query(row: Row) -> str:
    return f"{row['activity_label']}: {row['ctx_a']} {str(row['ctx_b']).capitalize()}"


def _clean(text: str) -> str:
    """Remove WikiHow's marks; an ending that begins with one keeps the space after it."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


HELLASWAG = Task(
    facts=TaskFacts(
        name="hellaswag",
        capability="text completion",
        metrics=("acc_norm", "acc"),
        version=2,  # 1 had acc as its score
        source="Zellers et al. 2019 (arXiv:1905.07830), github.com/rowanz/hellaswag",
        license="MIT",
        n_items=_ROWS,
        chance=0.25,
        title="HellaSwag",
        hub=_HUB,
        harness=HarnessTask("hellaswag", 1.0, unfiltered("acc", "acc_norm")),
    ),
    load=load,
    grade=grade_acc_norm,
)
