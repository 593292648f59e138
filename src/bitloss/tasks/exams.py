"""Exams in many subjects (MMLU, C-Eval): four options, answered by letter, examples by subject.

The prompts are those of lm-eval 0.4.13 (lm_eval/api/task.py, fewshot_context): description, then
the subject's first development questions with their answers, then the question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitloss.datasets.local import data_directory
from bitloss.datasets.tables import (
    Table,
    combined_digest,
    damaged_row,
    deviations,
    local_files,
    read_csv,
)
from bitloss.tasks.base import Item, Prompt, TaskItems
from bitloss.tasks.clusters import with_clusters
from bitloss.tasks.shots import require_shots, resolve_shots

__all__ = ["COLUMNS", "LETTERS", "Exam", "load_exam"]

LETTERS = ("A", "B", "C", "D")
COLUMNS = ("question", *LETTERS, "answer")

_EXAMPLES = "dev"
_SHOTS = 5
_PASSAGE = 60
"""Characters from which a text above a question is a passage."""


@dataclass(frozen=True, slots=True)
class Exam:
    """What sets one exam apart.

    Attributes:
        task: its name; local files are ``TASK/SPLIT/SUBJECT_SPLIT.csv``.
        title: for notes.
        subjects: by name, what the prompt calls them; in this order they are asked.
        description: of a subject by what the prompt calls it, with the separator.
        ask: the last line of a question: ``"Answer:"``.
        split: the one that is asked.
        header: whether the local files name their columns.
        published: by split, rows and `combined_digest` of the local files.
        origin: where the local files can be had.
        hub: reads a split from the hub or its copy in the data directory, given that directory,
            the split's name and the local file that it stands in for: tables with `COLUMNS` by
            subject.
    """

    task: str
    title: str
    subjects: Mapping[str, str]
    description: Callable[[str], str]
    ask: str
    split: str
    header: bool
    published: Mapping[str, tuple[int, str]]
    origin: str
    hub: Callable[[Path | None, str, str], Mapping[str, Table]]


def load_exam(exam: Exam, data: Path | None, shots: int | None) -> TaskItems:
    """Read an exam; see `bitloss.tasks.base.Load`. Without a number of shots there are five."""
    count = resolve_shots(exam.task, shots, _SHOTS)
    splits = (_EXAMPLES, exam.split) if count else (exam.split,)
    files = {
        (split, subject): f"{exam.task}/{split}/{subject}_{split}.csv"
        for split in splits
        for subject in exam.subjects
    }
    directory = data_directory(data)
    upstream = directory is not None and any((directory / file).exists() for file in files.values())
    paths = local_files(data, list(files.values()), origin=exam.origin) if upstream else None
    if paths is None:
        tables = _from_hub(exam, data, splits, next(iter(files.values())))
        source = next(iter(tables.values())).source
    else:
        tables = {
            key: read_csv(paths[file], COLUMNS, header=exam.header) for key, file in files.items()
        }
        source = str(next(iter(paths.values())).parents[1])
    items: list[Item] = []
    for subject in exam.subjects:
        examples = tables[_EXAMPLES, subject] if count else None
        items += _subject_items(exam, subject, tables[exam.split, subject], examples, count)
    return TaskItems(
        items=tuple(items),
        digest=combined_digest(list(tables.values())),
        source=source,
        notes=_notes(exam, splits, tables),
    )


def _from_hub(
    exam: Exam, data: Path | None, splits: Sequence[str], expected: str
) -> dict[tuple[str, str], Table]:
    return {
        (split, subject): table
        for split in splits
        for subject, table in exam.hub(data, split, expected).items()
    }


def _notes(
    exam: Exam, splits: Sequence[str], tables: Mapping[tuple[str, str], Table]
) -> tuple[str, ...]:
    notes: list[str] = []
    for split in splits:
        rows, digest = exam.published[split]
        found = [tables[split, subject] for subject in exam.subjects]
        notes += deviations(f"{exam.title} {split}", found, rows=rows, digest=digest)
    return tuple(notes)


def _subject_items(
    exam: Exam, subject: str, table: Table, examples: Table | None, shots: int
) -> list[Item]:
    """The items of a subject; they share the text of their examples, not copies of it."""
    solved: tuple[str, ...] = ()
    if examples is not None:
        require_shots(exam.task, shots, len(examples.rows))
        solved = tuple(
            f"{text} {LETTERS[gold]}\n\n"
            for text, gold in (_question(exam, examples, index) for index in range(shots))
        )
    description = exam.description(exam.subjects[subject])
    items, passages = [], []
    for index in range(len(table.rows)):
        text, gold = _question(exam, table, index)
        passages.append(_passage(table, index))
        items.append(
            Item(
                id=f"{subject}/{index}",
                prompt=Prompt(text, solved, description),
                subject=subject,
                options=LETTERS,
                gold=gold,
            )
        )
    return list(with_clusters(items, passages))


def _passage(table: Table, index: int) -> str | None:
    """The text above a question's last line, which others may be about too (MMLU's history)."""
    above = str(table.rows[index]["question"]).strip().rpartition("\n")[0]
    return above if len(above) >= _PASSAGE else None


def _question(exam: Exam, table: Table, index: int) -> tuple[str, int]:
    """A question up to the answer's delimiter, and the index of the right letter."""
    row = table.rows[index]
    texts = [row[column] for column in COLUMNS[:-1]]
    if not all(isinstance(text, str) for text in texts):
        raise damaged_row(table, index, "a question and four options in text", repr(texts)[:80])
    if row["answer"] not in LETTERS:
        raise damaged_row(table, index, "an answer from A to D", repr(row["answer"]))
    options = [f"{letter}. {row[letter]}" for letter in LETTERS]
    return "\n".join([row["question"].strip(), *options, exam.ask]), LETTERS.index(row["answer"])
