"""BIG-Bench Hard as its repository has it: items, and three worked examples for every task.

Source: Suzgun et al. 2022, "Challenging BIG-Bench Tasks and Whether Chain-of-Thought Can Solve
Them", https://github.com/suzgunmirac/BIG-Bench-Hard: ``bbh/TASK.json`` with the items and
``cot-prompts/TASK.txt`` with a canary, a description and the examples. The descriptions and
examples of lm-eval 0.4.13 (tasks/bbh/cot_fewshot and tasks/leaderboard/bbh_mc) are those of these
text files, character for character but for one: in ``sports_understanding`` the text goes on after
"step by step." on the same line, and lm-eval begins a new one, as in all other tasks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bitloss.datasets.local import data_directory
from bitloss.datasets.snapshots import find_snapshot, local_or_hub_table
from bitloss.datasets.tables import (
    HubTable,
    Table,
    combined_digest,
    damaged_row,
    deviations,
    local_files,
)
from bitloss.errors import TaskDataError, UsageError
from bitloss.spec.fingerprint import sha256_files
from bitloss.spec.json_text import parse_json
from bitloss.tasks.shots import resolve_shots

__all__ = [
    "ANSWER",
    "HUB",
    "ITEMS",
    "LICENSE",
    "SOURCE",
    "Example",
    "Loaded",
    "Subject",
    "load_subjects",
]

SOURCE = "https://github.com/suzgunmirac/BIG-Bench-Hard"
LICENSE = "MIT"
# The copy that lm-eval reads; ours is of the authors' files.
HUB = HubTable("SaylorTwift/bbh", None, "test")

_FOLDERS = ("bbh",)

_USUAL = 250
_COUNTS = {"causal_judgement": 187, "penguins_in_a_table": 146, "snarks": 178}
ITEMS: Mapping[str, int] = MappingProxyType(
    {
        name: _COUNTS.get(name, _USUAL)
        for name in (
            "boolean_expressions",
            "causal_judgement",
            "date_understanding",
            "disambiguation_qa",
            "dyck_languages",
            "formal_fallacies",
            "geometric_shapes",
            "hyperbaton",
            "logical_deduction_five_objects",
            "logical_deduction_seven_objects",
            "logical_deduction_three_objects",
            "movie_recommendation",
            "multistep_arithmetic_two",
            "navigate",
            "object_counting",
            "penguins_in_a_table",
            "reasoning_about_colored_objects",
            "ruin_names",
            "salient_translation_error_detection",
            "snarks",
            "sports_understanding",
            "temporal_sequences",
            "tracking_shuffled_objects_five_objects",
            "tracking_shuffled_objects_seven_objects",
            "tracking_shuffled_objects_three_objects",
            "web_of_lies",
            "word_sorting",
        )
    }
)
"""The published number of items of each task."""

_EXAMPLES = 3
_ITEMS_DIGEST = "ee6e9a11eade978638f6f114c8ecd94eafbfa3cf959c1eaf2517231073e3f0e8"
_EXAMPLES_DIGEST = "86eaa981907f87b58514b55c3d5b534612c9c8ddd34811080d9d7eab53dd4681"
_RULER = "-----\n"
_THOUGHT = re.compile(r"\nA: Let's think step by step\.[ \n]")
ANSWER = re.compile(r"(?<=the answer is )(.*)(?=.)")
"""An answer in a text: what follows "the answer is ", but for the line's last character."""


@dataclass(frozen=True, slots=True)
class Example:
    """A solved example.

    Attributes:
        question: without "Q: ".
        reasoning: after "Let's think step by step.", with the answer at its end.
        answer: alone: ``"(A)"``.
    """

    question: str
    reasoning: str
    answer: str


@dataclass(frozen=True, slots=True)
class Subject:
    """One of the 27 tasks.

    Attributes:
        name: ``"boolean_expressions"``.
        description: what is asked for, without a separator.
        examples: as many as were asked for, the first ones first.
        items: rows with ``input`` and ``target``.
    """

    name: str
    description: str
    examples: tuple[Example, ...]
    items: Table


@dataclass(frozen=True, slots=True)
class Loaded:
    """All of them; the other attributes are those of `TaskItems`."""

    subjects: tuple[Subject, ...]
    digest: str
    source: str
    notes: tuple[str, ...]


def load_subjects(task: str, data: Path | None, shots: int | None) -> Loaded:
    """Read all 27 tasks.

    Args:
        task: name of the task that asks, for errors.
        data: directory with local data; None asks ``BITLOSS_DATA``. There is no other source, but
            the items may be there as the hub has them (`bitloss.datasets.snapshots`).
        shots: examples, None is three.

    Returns:
        Subjects in alphabetical order, with digest, source and notes as `TaskItems` has them.

    Raises:
        TaskDataError: no directory, files are missing, or one is damaged.
        UsageError: not 0 to 3 shots.
    """
    count = resolve_shots(task, shots, _EXAMPLES)
    if count > _EXAMPLES:
        raise UsageError(
            f"task `{task}`: expected at most {_EXAMPLES} shots, got {count}",
            hint=f"give a number up to {_EXAMPLES}, the worked examples of each of its tasks",
        )
    item_files = {name: f"bbh/bbh/{name}.json" for name in ITEMS}
    text_files = {name: f"bbh/cot-prompts/{name}.txt" for name in ITEMS}
    directory = data_directory(data)
    first = HubTable(HUB.repository, next(iter(ITEMS)), HUB.split)
    hub_layout = (
        directory is not None
        and not any((directory / file).is_file() for file in item_files.values())
        and bool(find_snapshot(directory, first, _FOLDERS))
    )
    wanted = [*([] if hub_layout else item_files.values()), *text_files.values()]
    files = local_files(data, wanted, origin=SOURCE)
    if files is None:
        raise TaskDataError(
            "expected a folder with BIG-Bench Hard, got none: the hub has its items only, not the "
            "worked examples that stand in every prompt",
            hint=f"git clone {SOURCE} DIR/bbh, then --data DIR or BITLOSS_DATA=DIR",
        )
    subjects, item_tables, example_tables = [], [], []
    for name in ITEMS:
        items = _hub_items(data, name) if hub_layout else _read_items(files[item_files[name]])
        description, examples = _read_examples(files[text_files[name]])
        solved = tuple(Example(**row) for row in examples.rows[:count])
        subjects.append(Subject(name, description, solved, items))
        item_tables.append(items)
        example_tables.append(examples)
    return Loaded(
        subjects=tuple(subjects),
        digest=combined_digest(item_tables + example_tables),
        source=str(next(iter(files.values())).parents[1]),
        notes=(
            *deviations("BBH", item_tables, rows=sum(ITEMS.values()), digest=_ITEMS_DIGEST),
            *deviations("BBH examples", example_tables, rows=81, digest=_EXAMPLES_DIGEST),
        ),
    )


def _hub_items(data: Path | None, name: str) -> Table:
    """A task's items as the hub has them, in the directory with local data."""
    hub = HubTable(HUB.repository, name, HUB.split)
    table = local_or_hub_table(
        data, hub, expected=f"{name} of {hub}", columns=("input", "target"), folders=_FOLDERS
    )
    for index, row in enumerate(table.rows):
        if not all(isinstance(row[key], str) and row[key] for key in ("input", "target")):
            raise damaged_row(table, index, "text in `input` and `target`", repr(row)[:80])
    return table


def _read_items(path: Path) -> Table:
    try:
        document: Any = parse_json(_read(path))
    except ValueError as error:
        raise _broken(path, "JSON", str(error)) from error
    rows = document.get("examples") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise _broken(path, "an object with a list `examples`", type(document).__name__)
    for index, row in enumerate(rows):
        texts = [row.get(key) for key in ("input", "target")] if isinstance(row, dict) else []
        if not texts or not all(isinstance(text, str) and text for text in texts):
            raise _broken(
                path, f"text in `input` and `target` of example {index + 1}", repr(row)[:80]
            )
    return Table(tuple(rows), sha256_files([path]), str(path))


def _read_examples(path: Path) -> tuple[str, Table]:
    """Description, and examples with the fields of `Example`."""
    _, ruler, body = _read(path).partition(_RULER)
    description, *parts = body.rstrip("\n").split("\n\nQ: ")
    if not ruler or not description or len(parts) != _EXAMPLES:
        raise _broken(
            path,
            f'a line "-----", a description and {_EXAMPLES} times "Q: "',
            f"{len(parts)} times",
        )
    rows = []
    for number, part in enumerate(parts, start=1):
        question, *reasoning = _THOUGHT.split(part, maxsplit=1)
        answers = ANSWER.findall(reasoning[0]) if reasoning else []
        if not answers:
            raise _broken(
                path,
                f'"A: Let\'s think step by step." and "the answer is" in example {number}',
                "none",
            )
        rows.append({"question": question, "reasoning": reasoning[0], "answer": answers[-1]})
    return description, Table(tuple(rows), sha256_files([path]), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise TaskDataError(
            f"cannot read `{path}`: {error}", hint="download or copy it again"
        ) from error
    except UnicodeDecodeError as error:
        raise _broken(path, "UTF-8 text", f"byte 0x{error.object[error.start]:02x}") from error


def _broken(path: Path, expected: str, got: str) -> TaskDataError:
    return TaskDataError(
        f"`{path}`: expected {expected}, got {got}",
        hint="download or copy the file again: it is damaged",
    )
