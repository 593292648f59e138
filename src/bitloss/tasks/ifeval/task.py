"""IFEval: instructions whose following a program can verify.

Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models" (arXiv:2311.07911).
541 prompts with 834 instructions of 25 kinds ("at least 300 words", "no commas"). Prompts,
decoding and metrics are those of lm-eval 0.4.13 (``lm_eval/tasks/ifeval/ifeval.yaml``); each
checker's docstring names the class that it judges alike. The score is the paper's first,
``prompt_level_strict_acc``; ``inst_level_strict_acc`` stands beside it, and the Open LLM
Leaderboard (version 2) quotes the mean of the two.

Where verdicts can differ from lm-eval's: languages (langdetect is unseeded there, seeded here), 2
of the 33 letter frequencies (see `keywords.letter_frequency`), and numbers of sentences in the
few cases that `sentences` lists.

Local layout: ``ifeval/input_data.jsonl``: key, prompt, instruction_id_list, kwargs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bitloss.datasets.published import PublishedTable, load_published
from bitloss.datasets.tables import HubTable, Row, Table, damaged_row
from bitloss.errors import UsageError
from bitloss.requests import Decoding
from bitloss.sandbox.base import Sandbox
from bitloss.tasks.base import (
    Answer,
    Grade,
    HarnessTask,
    Item,
    Prompt,
    Task,
    TaskFacts,
    TaskItems,
    unfiltered,
)
from bitloss.tasks.ifeval.instructions import (
    Instruction,
    follows_loosely,
    follows_strictly,
    read_instruction,
)

__all__ = ["IFEVAL", "grade", "load"]

_TABLE = PublishedTable(
    name="IFEval",
    file="ifeval/input_data.jsonl",
    columns=("key", "prompt", "instruction_id_list", "kwargs"),
    rows=541,
    hub=HubTable("google/IFEval", None, "train"),
    digest="893a5773ad7ef438d408917b4a0aea1a2effe1885717e3ee263d0e3a7c0c5fde",
    folders=("ifeval",),
)

_METRICS = (
    "prompt_level_strict_acc",
    "inst_level_strict_acc",
    "prompt_level_loose_acc",
    "inst_level_loose_acc",
)


def load(data: Path | None, *, shots: int | None = None) -> TaskItems:
    """See `bitloss.tasks.base.Load`; there are no shots."""
    if shots:
        raise UsageError(
            f"expected 0 shots for ifeval, got {shots}",
            hint="omit the shot count: IFEval is zero-shot",
        )
    table, notes = load_published(data, _TABLE)
    items = tuple(_item(table, index, row) for index, row in enumerate(table.rows))
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item.id in seen:
            raise damaged_row(table, index, "a key of its own", f"{item.id} again")
        seen.add(item.id)
    return TaskItems(items, table.digest, table.source, notes)


def _item(table: Table, index: int, row: Row) -> Item:
    key, prompt = row["key"], row["prompt"]
    if not isinstance(key, int | str):
        raise damaged_row(table, index, "a key", repr(key))
    if not isinstance(prompt, str) or not prompt.strip():
        raise damaged_row(table, index, "a prompt", repr(prompt))
    instructions = _instructions(table, index, row["instruction_id_list"], row["kwargs"])
    return Item(str(key), Prompt(prompt), data={"instructions": instructions})


def _instructions(table: Table, index: int, names: Any, given: Any) -> tuple[Instruction, ...]:
    both_lists = isinstance(names, list | tuple) and isinstance(given, list | tuple)
    if not both_lists or not names or len(names) != len(given):
        raise damaged_row(
            table, index, "as many kwargs as instructions", f"{given!r} for {names!r}"
        )
    try:
        return tuple(read_instruction(*pair) for pair in zip(names, given, strict=True))
    except ValueError as error:
        raise damaged_row(table, index, "instructions of IFEval", str(error)) from error


def grade(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """Four accuracies: of prompts (all instructions followed) and of instructions, each strictly
    as written and loosely (`follows_loosely`); runs nothing in the sandbox.
    """
    instructions = item.data["instructions"]
    strict = follows_strictly(answer.texts[0], instructions)
    loose = follows_loosely(answer.texts[0], instructions)
    number = len(strict)
    failed = [name for (name, _), kept in zip(instructions, strict, strict=True) if not kept]
    return Grade(
        scores={
            "prompt_level_strict_acc": float(all(strict)),
            "inst_level_strict_acc": sum(strict) / number,
            "prompt_level_loose_acc": float(all(loose)),
            "inst_level_loose_acc": sum(loose) / number,
        },
        weights={"inst_level_strict_acc": number, "inst_level_loose_acc": number},
        detail=f"not followed: {', '.join(failed)}" if failed else "",
    )


IFEVAL = Task(
    TaskFacts(
        name="ifeval",
        capability="instruction following",
        metrics=_METRICS,
        source="https://huggingface.co/datasets/google/IFEval",
        license="Apache-2.0",
        n_items=541,
        title="IFEval",
        hub=_TABLE.hub,
        harness=HarnessTask("ifeval", 4.0, unfiltered(*_METRICS)),
        decoding=Decoding(max_new_tokens=1280),
    ),
    load,
    grade,
)
